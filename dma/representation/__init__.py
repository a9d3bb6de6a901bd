"""What a network represents of pictures: channel means of its blocks, how sparse they are, whether they are like those
of memorised pictures, and pictures from them."""
from ._centroid import centroid, distances_to
from ._channel_means import (
    ALGORITHM,
    MAXIMUM,
    OVER_SPACE,
    MeansState,
    Reading,
    channel_means,
    means_of_layers,
    reading_means,
    reading_noise,
)
from ._files import load_representation, save_representation
from ._memorisation import (
    CHANNEL_SCORES,
    DEVIATION,
    FIT,
    GUIDANCE,
    NORM,
    SCORES,
    SPIKINESS,
    channel_scores,
    fit,
    guidance_difference,
    scores_by_prompts,
)
from ._memorisation_report import MemorisationReport, ScoreAmongReferences, memorisation_report
from ._monitor import MeansMonitor
from ._reconstruct import (
    RECONSTRUCTION_ALGORITHM,
    Reconstruction,
    ReconstructionSettings,
    matched_features,
    reconstruct,
    strongest,
)
from ._reconstruction_monitor import ReconstructionMonitor
from ._reconstruction_report import ReconstructedLevel, ReconstructionReport
from ._reconstruction_state import ReconstructionState
from ._representation import Representation, check_alike, check_representation
from ._sparsity import FEWEST_FOR_TAILS, FEWEST_PICTURES, participation, specialised, tail_scores, varying
from ._sparsity_report import BlockSparsity, SparsityReport, sparsity

__all__ = [
    "ALGORITHM", "CHANNEL_SCORES", "DEVIATION", "FEWEST_FOR_TAILS", "FEWEST_PICTURES", "FIT", "GUIDANCE", "MAXIMUM",
    "NORM", "OVER_SPACE", "RECONSTRUCTION_ALGORITHM", "SCORES", "SPIKINESS", "BlockSparsity", "MeansMonitor",
    "MeansState", "MemorisationReport", "Reading", "ReconstructedLevel", "Reconstruction", "ReconstructionMonitor",
    "ReconstructionReport", "ReconstructionSettings", "ReconstructionState", "Representation", "ScoreAmongReferences",
    "SparsityReport", "centroid", "channel_means", "channel_scores", "check_alike", "check_representation",
    "distances_to", "fit", "guidance_difference", "load_representation", "matched_features", "means_of_layers",
    "memorisation_report", "participation", "reading_means", "reading_noise", "reconstruct", "save_representation",
    "scores_by_prompts", "sparsity", "specialised", "strongest", "tail_scores", "varying",
]
