"""What a network represents of pictures: channel means of its blocks, how sparse they are, and whether they are like
those of memorised pictures."""
from ._channel_means import (
    ALGORITHM,
    MAXIMUM,
    OVER_SPACE,
    MeansState,
    Reading,
    channel_means,
    means_of_layers,
    reading_means,
)
from ._files import load_representation, save_representation
from ._memorisation import (
    CHANNEL_SCORES,
    DEVIATION,
    GUIDANCE,
    NORM,
    SCORES,
    SPIKINESS,
    channel_scores,
    guidance_difference,
)
from ._memorisation_report import MemorisationReport, ScoreAmongReferences, memorisation_report
from ._monitor import MeansMonitor
from ._representation import Representation, check_alike, check_representation
from ._sparsity import FEWEST_FOR_TAILS, FEWEST_PICTURES, participation, specialised, tail_scores, varying
from ._sparsity_report import BlockSparsity, SparsityReport, sparsity

__all__ = [
    "ALGORITHM", "CHANNEL_SCORES", "DEVIATION", "FEWEST_FOR_TAILS", "FEWEST_PICTURES", "GUIDANCE", "MAXIMUM", "NORM",
    "OVER_SPACE", "SCORES", "SPIKINESS", "BlockSparsity", "MeansMonitor", "MeansState", "MemorisationReport",
    "Reading", "Representation", "ScoreAmongReferences", "SparsityReport", "channel_means", "channel_scores",
    "check_alike", "check_representation", "guidance_difference", "load_representation", "means_of_layers",
    "memorisation_report", "participation", "reading_means", "save_representation", "sparsity", "specialised",
    "tail_scores", "varying",
]
