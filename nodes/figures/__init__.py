"""PlotReport, LabelledSheet, SaveReport and LoadReport."""
from ._labelled_sheet import LabelledSheet
from ._plot_report import PlotReport
from ._report_files import LoadReport, SaveReport

__all__ = ["LabelledSheet", "LoadReport", "PlotReport", "SaveReport"]
