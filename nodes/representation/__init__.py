"""ChannelMeans, SaveRepresentation, LoadRepresentation, Sparsity and ReconstructFromRepresentation."""
from ._channel_means import ChannelMeans
from ._reconstruct import ReconstructFromRepresentation
from ._representation_files import LoadRepresentation, SaveRepresentation
from ._sparsity import Sparsity

__all__ = ["ChannelMeans", "LoadRepresentation", "ReconstructFromRepresentation", "SaveRepresentation", "Sparsity"]
