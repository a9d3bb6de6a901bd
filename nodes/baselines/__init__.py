"""AverageImages, AverageLatents, MedoidSelect and ZeroLatent."""
from ._average_images import AverageImages, AverageLatents
from ._medoid_select import MedoidSelect
from ._zero_latent import ZeroLatent

__all__ = ["AverageImages", "AverageLatents", "MedoidSelect", "ZeroLatent"]
