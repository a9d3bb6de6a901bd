"""The average by annealed mean shift: one picture, whatever the seed."""
from ._mean_shift import ALGORITHM, MeanShift, Start, level_seed, mean_shift
from ._monitor import MeanShiftMonitor
from ._report import AveragedLevel, MeanShiftReport
from ._settings import GUIDANCE_SHARE, MeanShiftSettings, averaged_guidance, noise_for
from ._state import MeanShiftState

__all__ = [
    "ALGORITHM", "GUIDANCE_SHARE", "AveragedLevel", "MeanShift", "MeanShiftMonitor", "MeanShiftReport",
    "MeanShiftSettings", "MeanShiftState", "Start", "averaged_guidance", "level_seed", "mean_shift", "noise_for",
]
