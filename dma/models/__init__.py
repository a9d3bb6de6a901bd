"""Models outside ComfyUI, and what is checked on any network: hooks that end a forward pass, right gradients."""
from ._diffusers_pipeline import DiffusersDenoiser, ddim_sigmas, from_pipeline
from ._gradient_check import check_differentiable, check_gradient, gradient_error
from ._hooks import output_of, outputs_of
from ._read_features import features_of, read_features

__all__ = [
    "DiffusersDenoiser", "check_differentiable", "check_gradient", "ddim_sigmas", "features_of", "from_pipeline",
    "gradient_error", "output_of", "outputs_of", "read_features",
]
