"""ChannelMeans, SaveRepresentation, LoadRepresentation and Sparsity."""
from ._channel_means import ChannelMeans
from ._representation_files import LoadRepresentation, SaveRepresentation
from ._sparsity import Sparsity

__all__ = ["ChannelMeans", "LoadRepresentation", "SaveRepresentation", "Sparsity"]
