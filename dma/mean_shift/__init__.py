"""The average by annealed mean shift: one picture, whatever the seed."""
from ._mean_shift import ALGORITHM, MeanShift, Start, level_seed, mean_shift
from ._monitor import MeanShiftMonitor
from ._report import AveragedLevel, MeanShiftReport
from ._settings import GUIDANCE_SHARE, MeanShiftSettings, averaged_guidance, noise_for
from ._state import MeanShiftState
from ._tree import TREE_ALGORITHM, ModeTree, mode_tree
from ._tree_settings import TreeSettings
from ._tree_state import TreeLevel, TreeState

__all__ = [
    "ALGORITHM", "GUIDANCE_SHARE", "TREE_ALGORITHM", "AveragedLevel", "MeanShift", "MeanShiftMonitor",
    "MeanShiftReport", "MeanShiftSettings", "MeanShiftState", "ModeTree", "Start", "TreeLevel", "TreeSettings",
    "TreeState", "averaged_guidance", "level_seed", "mean_shift", "mode_tree", "noise_for",
]
