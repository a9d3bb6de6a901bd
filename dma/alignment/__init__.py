"""Progressive trajectory alignment (arXiv 2603.29239), of one concept and of the modes of one."""
from ._align import Alignment, align, trajectories
from ._mixture import MixtureAlignment, align_mixture, check_mixture
from ._mixture_monitor import MixtureMonitor
from ._mixture_report import MIXTURE_FORMAT, MixtureReport
from ._monitor import Monitor
from ._pace import iterations_ahead
from ._presets import PRESETS
from ._report import ALIGNMENT_FORMAT, AlignedStep, AlignmentReport
from ._settings import AlignmentSettings
from ._start import Ensemble, Noise, Start
from ._state import State

__all__ = [
    "ALIGNMENT_FORMAT", "MIXTURE_FORMAT", "PRESETS", "AlignedStep", "Alignment", "AlignmentReport", "AlignmentSettings",
    "Ensemble", "MixtureAlignment", "MixtureMonitor", "MixtureReport", "Monitor", "Noise", "Start", "State", "align",
    "align_mixture", "check_mixture", "iterations_ahead", "trajectories",
]
