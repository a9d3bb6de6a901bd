"""Progressive trajectory alignment (arXiv 2603.29239), of one concept and of the modes of one."""
from ._align import ALGORITHM, Alignment, align, trajectories
from ._mixture import MIXTURE_ALGORITHM, MixtureAlignment, align_mixture, check_mixture
from ._mixture_monitor import MixtureMonitor
from ._mixture_report import MixtureReport
from ._monitor import Monitor
from ._presets import PRESETS
from ._report import AlignedStep, AlignmentReport
from ._settings import AlignmentSettings
from ._start import Ensemble, Noise, Start
from ._state import State
from ._target import first_features

__all__ = [
    "ALGORITHM", "MIXTURE_ALGORITHM", "PRESETS", "AlignedStep", "Alignment", "AlignmentReport", "AlignmentSettings",
    "Ensemble", "MixtureAlignment", "MixtureMonitor", "MixtureReport", "Monitor", "Noise", "Start", "State", "align",
    "align_mixture", "check_mixture", "first_features", "trajectories",
]
