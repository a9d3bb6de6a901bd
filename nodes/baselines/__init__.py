"""Averages and picks to hold a mental average against: plain ones, and the published rivals."""
from ._aligned_mean import AlignedMean
from ._average_images import AverageImages, AverageLatents
from ._average_vae import AverageVAE
from ._best_of_k import BestOfK
from ._medoid_select import MedoidSelect
from ._prototypes import D4MPrototype, MGD3Prototype
from ._zero_latent import ZeroLatent

__all__ = [
    "AlignedMean", "AverageImages", "AverageLatents", "AverageVAE", "BestOfK", "D4MPrototype", "MGD3Prototype",
    "MedoidSelect", "ZeroLatent",
]
