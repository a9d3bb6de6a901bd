"""Plain averages, to hold the mental average against."""
from ._means import mean_of
from ._medoid import medoid
from ._zero_latent import zero_latent_sample

__all__ = ["mean_of", "medoid", "zero_latent_sample"]
