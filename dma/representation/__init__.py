"""What a network represents of pictures: channel means of its blocks, and how sparse they are."""
from ._channel_means import ALGORITHM, MeansState, Reading, channel_means, means_of_layers, reading_means
from ._files import load_representation, save_representation
from ._monitor import MeansMonitor
from ._representation import Representation, check_alike, check_representation
from ._sparsity import FEWEST_FOR_TAILS, FEWEST_PICTURES, participation, specialised, tail_scores, varying
from ._sparsity_report import BlockSparsity, SparsityReport, sparsity

__all__ = [
    "ALGORITHM", "FEWEST_FOR_TAILS", "FEWEST_PICTURES", "BlockSparsity", "MeansMonitor", "MeansState", "Reading",
    "Representation", "SparsityReport", "channel_means", "check_alike", "check_representation", "load_representation",
    "means_of_layers", "participation", "reading_means", "save_representation", "sparsity", "specialised",
    "tail_scores", "varying",
]
