"""Plain averages and the published rivals, to hold the mental average against."""
from ._best_of import best_of
from ._centroids import Centroids, kmeans_centroids, minibatch_centroids
from ._congealing import CONGEALING_ALGORITHM, AlignedMean, CongealingSettings, aligned_mean
from ._congealing_state import CongealingState
from ._d4m import D4M_GUIDANCE, D4M_NEGATIVE_PROMPT, D4M_STEPS, STRENGTH, check_strength, d4m_samples, first_step
from ._means import mean_of
from ._medoid import medoid
from ._mode_guidance import GUIDED_SHARE, MGD3_GUIDANCE, MGD3_STEPS, MODE_GUIDANCE, mode_guided_samples
from ._robust_mean import trimmed_mean
from ._zero_latent import zero_latent_sample

__all__ = [
    "CONGEALING_ALGORITHM", "D4M_GUIDANCE", "D4M_NEGATIVE_PROMPT", "D4M_STEPS", "GUIDED_SHARE", "MGD3_GUIDANCE",
    "MGD3_STEPS", "MODE_GUIDANCE", "STRENGTH", "AlignedMean", "Centroids", "CongealingSettings", "CongealingState",
    "aligned_mean", "best_of", "check_strength", "d4m_samples", "first_step", "kmeans_centroids", "mean_of", "medoid",
    "minibatch_centroids", "mode_guided_samples", "trimmed_mean", "zero_latent_sample",
]
