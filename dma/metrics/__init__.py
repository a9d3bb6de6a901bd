"""How far two sets of pictures are apart, by their features, and how alike those of one set are."""
from ._frechet import frechet_distance
from ._kernel import kernel_distance
from ._report import PromptSameness, SamenessReport
from ._sameness import FEWEST_SAMPLES, Sameness, sameness

__all__ = [
    "FEWEST_SAMPLES", "PromptSameness", "Sameness", "SamenessReport", "frechet_distance", "kernel_distance", "sameness",
]
