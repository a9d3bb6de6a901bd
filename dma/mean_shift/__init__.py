"""The average by annealed mean shift: one picture, whatever the seed; and the family tree of modes by the same map."""
from ._family import (
    FAMILY_ALGORITHM,
    SAMPLES,
    TREE,
    Family,
    FamilySettings,
    check_samples,
    family_tree,
    mode_average,
    part_of,
)
from ._family_monitor import FamilyMonitor
from ._mean_shift import ALGORITHM, MeanShift, Start, first_predictions, level_seed, mean_shift
from ._monitor import MeanShiftMonitor
from ._report import AveragedLevel, MeanShiftReport
from ._settings import GUIDANCE_SHARE, MeanShiftSettings, averaged_guidance, noise_for
from ._state import MeanShiftState
from ._tree import TREE_ALGORITHM, ModeTree, mode_tree
from ._tree_clusters import Cut, TreeClusterSettings, tree_clusters
from ._tree_report import MOST_LEAVES, ModeTreeReport, TreeLevelRecord, TreeMode, tree_agreement
from ._tree_settings import TreeSettings, spread_shortfall, spread_steps
from ._tree_state import TreeLevel, TreeState

__all__ = [
    "ALGORITHM", "FAMILY_ALGORITHM", "GUIDANCE_SHARE", "MOST_LEAVES", "SAMPLES", "TREE", "TREE_ALGORITHM",
    "AveragedLevel", "Cut", "Family", "FamilyMonitor", "FamilySettings", "MeanShift", "MeanShiftMonitor",
    "MeanShiftReport", "MeanShiftSettings", "MeanShiftState", "ModeTree", "ModeTreeReport", "Start",
    "TreeClusterSettings", "TreeLevel", "TreeLevelRecord", "TreeMode", "TreeSettings", "TreeState",
    "averaged_guidance", "check_samples", "family_tree", "first_predictions", "level_seed", "mean_shift",
    "mode_average", "mode_tree", "noise_for", "part_of", "spread_shortfall", "spread_steps", "tree_agreement",
    "tree_clusters",
]
