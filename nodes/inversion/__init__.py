"""DDIMInvert, DDIMSample and DDIMSamplerSelect."""
from ._ddim_invert import DDIMInvert
from ._ddim_sample import DDIMSample
from ._ddim_sampler_select import DDIMSamplerSelect

__all__ = ["DDIMInvert", "DDIMSample", "DDIMSamplerSelect"]
