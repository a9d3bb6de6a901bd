"""How far two sets of pictures are apart, by their features."""
from ._frechet import frechet_distance
from ._kernel import kernel_distance

__all__ = ["frechet_distance", "kernel_distance"]
