"""Progressive trajectory alignment (arXiv 2603.29239), of one concept and of the modes of one."""
from ._align import Alignment, align
from ._mixture import MixtureAlignment, align_mixture, check_mixture
from ._mixture_report import MixtureReport
from ._pace import iterations_ahead
from ._presets import PRESETS
from ._report import AlignedStep, AlignmentReport
from ._settings import AlignmentSettings
from ._start import Ensemble

__all__ = [
    "PRESETS", "AlignedStep", "Alignment", "AlignmentReport", "AlignmentSettings", "Ensemble", "MixtureAlignment",
    "MixtureReport", "align", "align_mixture", "check_mixture", "iterations_ahead",
]
