"""What a network represents of pictures: channel means of its blocks."""
from ._channel_means import ALGORITHM, MeansState, Reading, channel_means, means_of_layers, reading_means
from ._files import load_representation, save_representation
from ._representation import Representation, check_alike, check_representation

__all__ = [
    "ALGORITHM", "MeansState", "Reading", "Representation", "channel_means", "check_alike", "check_representation",
    "load_representation", "means_of_layers", "reading_means", "save_representation",
]
