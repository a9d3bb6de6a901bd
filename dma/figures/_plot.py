"""Every kind of report: read back from JSON, and drawn."""
from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from .. import records
from ..alignment import AlignmentReport, MixtureReport
from ..hspace import LayerReport
from ..interpolation import InterpolationReport, LatentStatisticsReport
from ..inversion import InversionReport
from ..mean_shift import MeanShiftReport, ModeTreeReport
from ..metrics import HallucinationReport, MeasureTable, SamenessReport
from ..representation import MemorisationReport, ReconstructionReport, SparsityReport
from ..training import TrainingReport
from ._alignment import plot_alignment
from ._hallucination import plot_hallucination
from ._interpolation import plot_interpolation
from ._inversion import plot_inversion
from ._latent_statistics import plot_latent_statistics
from ._layers import plot_layers
from ._mean_shift import plot_mean_shift
from ._measure_table import plot_measures
from ._memorisation import plot_memorisation
from ._mixture import plot_mixture
from ._mode_tree import plot_mode_tree
from ._reconstruction import plot_reconstruction
from ._sameness import plot_sameness
from ._sparsity import plot_sparsity
from ._training import plot_training

Report = (AlignmentReport | MixtureReport | InversionReport | InterpolationReport | LatentStatisticsReport
          | LayerReport | TrainingReport | MeanShiftReport | ModeTreeReport | SamenessReport
          | MeasureTable | SparsityReport | HallucinationReport | MemorisationReport | ReconstructionReport)

PLOTS: dict[type[Report], Callable[..., Tensor]] = {
    AlignmentReport: plot_alignment, MixtureReport: plot_mixture, InversionReport: plot_inversion,
    InterpolationReport: plot_interpolation, LatentStatisticsReport: plot_latent_statistics, LayerReport: plot_layers,
    TrainingReport: plot_training, MeanShiftReport: plot_mean_shift,
    ModeTreeReport: plot_mode_tree, SamenessReport: plot_sameness,
    MeasureTable: plot_measures, SparsityReport: plot_sparsity, HallucinationReport: plot_hallucination,
    MemorisationReport: plot_memorisation,
    ReconstructionReport: plot_reconstruction,
}


def read_report(text: str) -> Report:
    """The report, of whatever kind, that its `to_json` wrote. Raises ValueError for any other text."""
    return records.read(text, PLOTS, "a report of this library")


def plot(report: Report, *, width: int = 1024) -> Tensor:
    """A picture (1, H, W, 3) in [0, 1] of what was measured, `width` pixels wide.

    Raises ValueError for a report in which there is nothing to draw, and TypeError for anything else than a report.
    """
    if type(report) not in PLOTS:
        raise TypeError(f"There is no plot of {type(report).__name__}.")
    return PLOTS[type(report)](report, width=width)
