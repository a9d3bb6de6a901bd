"""Nodes of what a network represents: read, kept, told how sparse or like what is known by heart, and drawn again."""
from ._channel_means import ChannelMeans
from ._memorisation_score import MemorisationScore
from ._reconstruct import ReconstructFromRepresentation
from ._representation_files import LoadRepresentation, SaveRepresentation
from ._sparsity import Sparsity

__all__ = ["ChannelMeans", "LoadRepresentation", "MemorisationScore", "ReconstructFromRepresentation",
           "SaveRepresentation", "Sparsity"]
