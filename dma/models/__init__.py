"""What is asked of any model: features at a layer and over space, right gradients, what tells it apart; and models of
diffusers."""
from ._diffusers_pipeline import DiffusersDenoiser, ddim_sigmas, from_pipeline
from ._fingerprint import fingerprint
from ._gradient_check import UnusableGradient, check_differentiable, check_gradient, gradient_error
from ._hooks import output_of, outputs_of
from ._pooling import POOLINGS, pooled
from ._read_features import features_of, read_features

__all__ = [
    "POOLINGS", "DiffusersDenoiser", "UnusableGradient", "check_differentiable", "check_gradient", "ddim_sigmas",
    "features_of", "fingerprint", "from_pipeline", "gradient_error", "output_of", "outputs_of", "pooled",
    "read_features",
]
