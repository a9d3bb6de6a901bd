"""Diffusion mental averages: the methods, as functions on tensors.

Nothing in here knows ComfyUI. A model is anything that offers the `diffusion.Denoiser` protocol. Latents are carried as
ComfyUI carries them (x = x0 + sigma eps for eps and v models, (1 - sigma) x0 + sigma eps for flow), in fp32.
"""
from .alignment import PRESETS, AlignmentSettings, align
from .diffusion import Denoiser, Parametrization, sample
from .interpolation import interpolate
from .inversion import invert

__all__ = ["PRESETS", "AlignmentSettings", "Denoiser", "Parametrization", "align", "interpolate", "invert", "sample"]
