"""Every kind of report: read back from JSON, and drawn."""
from __future__ import annotations

from torch import Tensor

from . import (
    figures,
    interpolation_figures,
    interpolation_report,
    inversion_figures,
    inversion_report,
    layer_figures,
    layer_report,
    mode_alignment_report,
    records,
    report,
    training_figures,
    training_report,
)

KINDS = {
    report.FORMAT: (report.AlignmentReport, figures.plot_report),
    inversion_report.FORMAT: (inversion_report.InversionReport, inversion_figures.plot_inversion),
    interpolation_report.INTERPOLATION_FORMAT: (interpolation_report.InterpolationReport,
                                                interpolation_figures.plot_interpolation),
    interpolation_report.STATISTICS_FORMAT: (interpolation_report.LatentStatisticsReport,
                                             interpolation_figures.plot_latent_statistics),
    layer_report.FORMAT: (layer_report.LayerReport, layer_figures.plot_layers),
    mode_alignment_report.FORMAT: (mode_alignment_report.ModeAlignmentReport,
                                   mode_alignment_report.plot_mode_alignment),
    training_report.FORMAT: (training_report.TrainingReport, training_figures.plot_training),
}
Report = (report.AlignmentReport | inversion_report.InversionReport | interpolation_report.InterpolationReport
          | interpolation_report.LatentStatisticsReport | layer_report.LayerReport
          | mode_alignment_report.ModeAlignmentReport
          | training_report.TrainingReport)


def read(text: str) -> Report:
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
