"""Mixtures and centroids of noise latents that neither fade nor degenerate."""
from ._interpolate import METHODS, interpolate
from ._mean_adjustment import MEAN_ADJUSTMENTS, nominal_norm, split
from ._noise_bias import channel_mean_growth, channel_means, common_energy, relative_norms, square_root_fit
from ._norm_guided import Optimizer, log_chi, norm_guided_centroid, norm_guided_path, path_cost
from ._number_text import numbers, words
from ._offset import offset_channels
from ._report import InterpolationReport, LatentStatisticsReport, interpolation_report, measure_noise_bias
from ._weights import (
    effective_inputs,
    first_weights,
    grid_weights,
    normalised_weights,
    parse_weights,
    path_weights,
    random_weights,
    weights_to_text,
)

__all__ = [
    "MEAN_ADJUSTMENTS", "METHODS", "InterpolationReport", "LatentStatisticsReport", "Optimizer", "channel_mean_growth",
    "channel_means", "common_energy", "effective_inputs", "first_weights", "grid_weights", "interpolate",
    "interpolation_report", "log_chi", "measure_noise_bias", "nominal_norm", "norm_guided_centroid", "norm_guided_path",
    "normalised_weights", "numbers", "offset_channels", "parse_weights", "path_cost", "path_weights", "random_weights",
    "relative_norms", "split", "square_root_fit", "weights_to_text", "words",
]
