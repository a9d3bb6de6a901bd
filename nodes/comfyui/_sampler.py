"""Deterministic inversion and sampling as a SAMPLER.

ComfyUI's own scaling of noise and latents at both ends of a sampler is made for sampling: for flow models it divides by
1 - sigma after sampling, which is 0 where an inversion ends, and multiplies the latent by it before. None of it is used
here.
"""
from __future__ import annotations

import functools

import comfy.model_management
import comfy.samplers
from torch import Tensor

from ...dma.diffusion import clean_estimate, falling
from ...dma.inversion import InversionMonitor, Method, check_clean, invert, sample_back
from ._advice import FINISHED_LATENT, ORDINARY_SIGMAS, advising
from ._denoiser import ComfyDenoiser, predictor
from ._progress import as_shown


class DeterministicSampler(comfy.samplers.Sampler):
    """Rising sigmas invert `latent_image` into its noise z; falling ones sample the picture of z, or of `noise`."""

    def __init__(self, method: Method):
        self.method = method

    def sample(self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None,
               disable_pbar=False):
        model = model_wrap.inner_model
        with advising(ORDINARY_SIGMAS):
            schedule = falling(sigmas.cpu())
        if denoise_mask is not None:
            raise ValueError("This latent carries an inpainting mask: connect a latent without one.")
        if latent_image.ndim != 4:
            raise ValueError("This latent is a video, audio or combined latent: connect an image latent.")
        denoiser = predictor(model_wrap, extra_args)
        steps = len(schedule) - 1
        reporter = _Callback(callback, steps, denoiser)
        monitor = InversionMonitor(reporter, steps, measure=False)
        noisy = bool(noise.any())
        if sigmas[0] < sigmas[-1]:
            if noisy:
                raise ValueError("An inversion is deterministic: connect DisableNoise as the noise.")
            with advising(FINISHED_LATENT):
                check_clean(latent_image)
            trajectory = invert(denoiser, latent_image, schedule, method=self.method, measure=False,
                                watchers=[monitor]).trajectory
            reporter.finish(clean_estimate(*trajectory.latents[-2:], *trajectory.levels[-2:]))
            # ComfyUI takes what a sampler returns for a picture's latent, and rescales it; z is to come out as it is.
            return model.process_latent_in(trajectory.noise).to(latent_image.device)
        if noisy and latent_image.any():
            raise ValueError("There is both noise and a latent to start from: connect DisableNoise to sample the "
                             "latent of an inversion, or an empty latent to sample the noise.")
        # For the same reason a latent that is noise has been rescaled on its way in.
        start = noise if noisy else model.process_latent_out(latent_image) if latent_image.any() else latent_image
        result = sample_back(denoiser, start, schedule, method=self.method, watchers=[monitor])
        reporter.finish(result)
        return result.to(latent_image.device)


class _Callback:
    """Passes progress on to the callback of a ComfyUI sampler, which counts in steps."""

    def __init__(self, callback, steps: int, denoiser: ComfyDenoiser):
        self.callback, self.steps, self.told = callback, steps, 0
        self.shown = functools.partial(as_shown, device=denoiser.device, single_frame=denoiser.single_frame)

    def __call__(self, event) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        step = int(event.fraction * self.steps)
        if self.callback is not None and self.told < step < self.steps:
            self.told = step
            shown = self.shown(event.preview)
            self.callback(step - 1, shown, shown, self.steps)

    def finish(self, clean: Tensor) -> None:
        """The last step; ComfyUI keeps its clean latents (B, C, H, W) as the denoised output."""
        if self.callback is not None:
            shown = self.shown(clean)
            self.callback(self.steps - 1, shown, shown, self.steps)
