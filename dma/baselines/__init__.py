"""Plain averages, to hold the mental average against."""
from ._means import mean_of
from ._medoid import medoid

__all__ = ["mean_of", "medoid"]
