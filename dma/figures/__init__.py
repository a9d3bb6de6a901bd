"""Pictures of results, as image tensors (1, H, W, 3) in [0, 1]."""
from ._alignment import plot_alignment
from ._clusters import bic_curve, contact_sheet, scatter_plot
from ._concept_sheet import LEAST_CELL, concept_sheet
from ._hallucination import plot_hallucination
from ._interpolation import plot_interpolation
from ._inversion import plot_inversion
from ._latent_statistics import plot_latent_statistics
from ._layers import plot_layers
from ._mean_shift import heat_map, plot_mean_shift
from ._measure_table import plot_measures
from ._memorisation import plot_memorisation
from ._mixture import plot_mixture
from ._mode_tree import mode_sheet, mode_tree, plot_mode_tree
from ._plot import Report, plot, read_report
from ._reconstruction import plot_reconstruction
from ._sameness import plot_sameness
from ._sheet import labelled_sheet, ranked_sheet
from ._sparsity import plot_sparsity
from ._thumbnails import height_within, thumbnails
from ._training import plot_training

__all__ = [
    "LEAST_CELL", "Report", "bic_curve", "concept_sheet", "contact_sheet", "heat_map", "height_within",
    "labelled_sheet", "mode_sheet", "mode_tree", "plot", "plot_alignment", "plot_hallucination", "plot_interpolation",
    "plot_inversion", "plot_latent_statistics", "plot_layers", "plot_mean_shift", "plot_measures", "plot_memorisation",
    "plot_mixture", "plot_mode_tree", "plot_reconstruction", "plot_sameness", "plot_sparsity", "plot_training",
    "ranked_sheet", "read_report", "scatter_plot", "thumbnails",
]
