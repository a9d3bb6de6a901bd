"""Deterministic inversion and sampling as a SAMPLER.

ComfyUI's own scaling of noise and latents at both ends of a sampler is made for sampling: for flow models it divides by
1 - sigma after sampling, which is 0 where an inversion ends, and multiplies the latent by it before. None of it is used
here.
"""
from __future__ import annotations

import comfy.model_management
import comfy.samplers
import torch
from torch import Tensor

from ...dma.diffusion import clean_estimate, falling
from ...dma.inversion import InversionMonitor, Method, check_clean, invert, sample_back
from ._advice import FINISHED_LATENT, ORDINARY_SIGMAS, advising, advising_on_results
from ._denoiser import predictor
from ._latents import as_pictures, rescaled


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
        form = latent_image.shape
        latent_image, noise = as_pictures(latent_image), as_pictures(noise)
        if latent_image.ndim != 4:
            raise ValueError("This latent is a video, audio or combined latent: connect an image latent.")
        denoiser = predictor(model_wrap, extra_args)
        steps = len(schedule) - 1
        reporter = _Callback(callback, steps, form)
        monitor = InversionMonitor(reporter, steps, measure=False)
        noisy = bool(noise.any())
        if sigmas[0] < sigmas[-1]:
            if noisy:
                raise ValueError("An inversion is deterministic: connect DisableNoise as the noise.")
            with advising(FINISHED_LATENT):
                check_clean(latent_image)
            with advising_on_results():
                trajectory = invert(denoiser, latent_image, schedule, method=self.method, measure=False,
                                    watchers=[monitor]).trajectory
            reporter.finish(clean_estimate(*trajectory.latents[-2:], *trajectory.levels[-2:]))
            # ComfyUI takes what a sampler returns for a picture's latent, and rescales it; z is to come out as it is.
            z = rescaled(model_wrap.model_patcher, model.process_latent_in, trajectory.noise)
            return z.view(form).to(latent_image.device)
        if noisy and latent_image.any():
            raise ValueError("There is both noise and a latent to start from: connect DisableNoise to sample the "
                             "latent of an inversion, or an empty latent to sample the noise.")
        # For the same reason a latent that is noise has been rescaled on its way in.
        start = (noise if noisy or not latent_image.any() else
                 rescaled(model_wrap.model_patcher, model.process_latent_out, latent_image))
        with advising_on_results():
            result = sample_back(denoiser, start, schedule, method=self.method, watchers=[monitor])
        reporter.finish(result)
        return result.view(form).to(latent_image.device)


class _Callback:
    """Passes progress on to the callback of a ComfyUI sampler, which counts in steps and takes latents in the form of
    its own."""

    def __init__(self, callback, steps: int, form: torch.Size):
        self.callback, self.steps, self.form, self.told = callback, steps, form, 0

    def __call__(self, event) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        step = int(event.fraction * self.steps)
        if self.callback is not None and self.told < step < self.steps:
            self.told = step
            clean = event.preview.view(-1, *self.form[1:])
            self.callback(step - 1, clean, clean, self.steps)

    def finish(self, clean: Tensor) -> None:
        """The last step; ComfyUI keeps its clean latents (B, C, H, W) as the denoised output."""
        if self.callback is not None:
            clean = clean.view(self.form)
            self.callback(self.steps - 1, clean, clean, self.steps)
