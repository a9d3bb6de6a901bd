"""Mixtures and centroids of noise latents that neither fade nor degenerate."""
from ._interpolate import METHODS, Mixture, interpolate
from ._latent_statistics import latent_statistics
from ._mean_adjustment import MEAN_ADJUSTMENTS, nominal_norm, separate_noise
from ._noise_bias import (
    ChannelMeanGrowth,
    channel_mean_growth,
    channel_means,
    common_energy,
    relative_norms,
    square_root_fit,
)
from ._norm_guided import NormGuided, PathOptimizer, norm_guided_centroid, norm_guided_path
from ._offset import offset_channels
from ._report import InterpolationReport, LatentStatisticsReport, interpolation_report
from ._weights import (
    effective_inputs,
    equal_weights,
    first_weights,
    grid_weights,
    normalised_weights,
    path_weights,
    random_weights,
)

__all__ = [
    "MEAN_ADJUSTMENTS", "METHODS", "ChannelMeanGrowth", "InterpolationReport", "LatentStatisticsReport", "Mixture",
    "NormGuided", "PathOptimizer", "channel_mean_growth", "channel_means", "common_energy", "effective_inputs",
    "equal_weights", "first_weights", "grid_weights", "interpolate", "interpolation_report", "latent_statistics",
    "nominal_norm", "norm_guided_centroid", "norm_guided_path", "normalised_weights", "offset_channels", "path_weights",
    "random_weights", "relative_norms", "separate_noise", "square_root_fit",
]
