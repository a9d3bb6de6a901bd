"""ChannelMeans, SaveRepresentation, LoadRepresentation, Sparsity and MemorisationScore."""
from ._channel_means import ChannelMeans
from ._memorisation_score import MemorisationScore
from ._representation_files import LoadRepresentation, SaveRepresentation
from ._sparsity import Sparsity

__all__ = ["ChannelMeans", "LoadRepresentation", "MemorisationScore", "SaveRepresentation", "Sparsity"]
