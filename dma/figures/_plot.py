"""Every kind of report: read back from JSON, and drawn."""
from __future__ import annotations

from torch import Tensor

from .. import alignment, hspace, interpolation, inversion, records, training
from ._alignment import plot_alignment
from ._interpolation import plot_interpolation, plot_latent_statistics
from ._inversion import plot_inversion
from ._layers import plot_layers
from ._mixture import plot_mixture
from ._training import plot_training

KINDS = {
    alignment.ALIGNMENT_FORMAT: (alignment.AlignmentReport, plot_alignment),
    inversion.INVERSION_FORMAT: (inversion.InversionReport, plot_inversion),
    interpolation.INTERPOLATION_FORMAT: (interpolation.InterpolationReport,
                                                plot_interpolation),
    interpolation.STATISTICS_FORMAT: (interpolation.LatentStatisticsReport,
                                             plot_latent_statistics),
    hspace.LAYER_FORMAT: (hspace.LayerReport, plot_layers),
    alignment.MIXTURE_FORMAT: (alignment.MixtureReport,
                                   plot_mixture),
    training.TRAINING_FORMAT: (training.TrainingReport, plot_training),
}
Report = (alignment.AlignmentReport | inversion.InversionReport | interpolation.InterpolationReport
          | interpolation.LatentStatisticsReport | hspace.LayerReport
          | alignment.MixtureReport
          | training.TrainingReport)


def read_report(text: str) -> Report:
    """The report of whatever kind that its `to_json` wrote. Raises ValueError with a sentence for the user
    otherwise."""
    name = records.content(text, "a report of this node pack").get("format")
    if name not in KINDS:
        raise ValueError("This JSON file is not a report of this node pack: choose a file that Save Report wrote.")
    return KINDS[name][0].from_json(text)


def plot(found: Report, width: int = 1024) -> Tensor:
    """A picture (1, H, W, 3) in [0, 1] of what was measured."""
    draw = next(draw for kind, draw in KINDS.values() if isinstance(found, kind))
    return draw(found, width)
