"""Inversion, and sampling back, as a SAMPLER.

Between two samplers ComfyUI hands on x for eps and v models, and x / (1 - sigma) for flow: what one sampler divides by
at its end the next multiplies by at its start. Below the highest noise level this is kept, so that SplitSigmas divides
a run wherever one likes and parts of it may be core's own. At the highest level it cannot be: there 1 - sigma is 0, and
the latent is noise. An inversion that arrives there gives the noise z, from which sampling starts again.
"""
from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import comfy.model_management
import comfy.samplers
import torch
from torch import Tensor

from ...dma.diffusion import Parametrization, check_levels, clean_estimate, distinct_levels, falling, start_scale
from ...dma.execution import Event
from ...dma.inversion import (
    InversionMonitor,
    Method,
    Trajectory,
    Velocity,
    WayBack,
    check_clean,
    companions_of,
    invert,
    sample_back,
)
from ._advice import FINISHED_LATENT, ORDINARY_SIGMAS, OWN_NOISE_DOWN, advising, advising_on_results
from ._denoiser import ComfyDenoiser, parametrization_of, predictor
from ._draws import generators_kept
from ._latents import as_pictures, rescaled
from ._progress import as_shown
from ._sampling_kind import name_of_way


class DeterministicSampler(comfy.samplers.Sampler):
    """Rising sigmas invert `latent_image`, at the highest noise level into its noise z; falling ones sample the picture
    of `noise`, or of what an inversion or another sampler left in `latent_image`.

    trajectory: one to take back along falling sigmas that are its own, by its own method, from its own noise in
        `latent_image`.
    """

    tells_steps = True  # by the Denoiser; the callback hears of one latent of a batch

    def __init__(self, method: Method, trajectory: Trajectory | None = None):
        self.method, self.trajectory = method, trajectory

    def sample(self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None,
               disable_pbar=False):
        model, law = model_wrap.inner_model, model_wrap.inner_model.model_sampling
        sigmas = distinct_levels(sigmas)
        with advising(ORDINARY_SIGMAS):
            schedule = falling(sigmas.cpu())
        if denoise_mask is not None:
            raise ValueError("This latent carries an inpainting mask: connect a latent without one.")
        form = latent_image.shape
        latent_image, noise = as_pictures(latent_image), as_pictures(noise)
        if latent_image.ndim != 4:
            raise ValueError("This latent is a video, audio or combined latent: connect an image latent.")
        if self.trajectory is not None:
            own_levels(self.trajectory, parametrization_of(model_wrap.model_patcher), sigmas.cpu(),
                       "connect those of the scheduler and the steps of its inversion, not flipped or split.")
        with advising(ORDINARY_SIGMAS):
            check_levels(schedule, parametrization_of(model_wrap.model_patcher))
        way = self.method if self.trajectory is None else self.trajectory.method
        denoiser = predictor(model_wrap, extra_args, len(latent_image), sigmas,
                             name_of_way(way))
        steps = len(schedule) - 1
        reporter = _Callback(callback, steps, denoiser)
        watchers = [InversionMonitor(reporter, steps, measure=False)]
        noisy, whole = bool(noise.any()), self.max_denoise(model_wrap, schedule)
        with generators_kept(), advising_on_results():
            if sigmas[0] < sigmas[-1]:
                if noisy:
                    raise ValueError("An inversion is deterministic: connect DisableNoise as the noise.")
                # Core moves empty latents to where the model's units have them, but not a batch of nothing else.
                empty = rescaled(model_wrap.model_patcher, model.process_latent_in, torch.zeros_like(latent_image))
                with advising(FINISHED_LATENT):
                    check_clean(latent_image)
                    check_clean(latent_image - empty)
                start = law.noise_scaling(sigmas[0], noise, latent_image)
                trajectory = invert(denoiser, start, schedule, method=self.method, measure=False,
                                    watchers=watchers).trajectory
                reporter.finish(clean_estimate(*trajectory.latents[-2:], *trajectory.levels[-2:]))
                if whole:
                    # ComfyUI takes what a sampler returns for a picture's latent, and rescales it; z is to come out as
                    # it is.
                    found = rescaled(model_wrap.model_patcher, model.process_latent_in, trajectory.noise)
                else:
                    found = law.inverse_noise_scaling(sigmas[-1], trajectory.latents[-1].to(latent_image.device))
                return found.view(form).to(latent_image.device)
            companion = None
            if self.trajectory is not None:
                if noisy:
                    raise ValueError(f"A trajectory is taken back from its own noise alone. {OWN_NOISE_DOWN}")
                # ComfyUI has rescaled the noise z on its way in, as if it were a picture's latent.
                z = rescaled(model_wrap.model_patcher, model.process_latent_out, latent_image)
                with advising(OWN_NOISE_DOWN):
                    companion = companions_of(self.trajectory, z)
            else:
                if whole and latent_image.any():
                    if noisy:
                        raise ValueError("There is both noise and a latent to start from: connect DisableNoise to "
                                         "sample the latent of an inversion, or an empty latent to sample the noise.")
                    # For the same reason a latent that is noise has been rescaled on its way in.
                    noise = rescaled(model_wrap.model_patcher, model.process_latent_out, latent_image)
                    latent_image = torch.zeros_like(latent_image)
                z = law.noise_scaling(sigmas[0], noise, latent_image, whole) / start_scale(denoiser, sigmas[0].item())
            method = _Remembering(way)
            found = sample_back(denoiser, z, schedule, method=method, companion=companion,
                                watchers=[*watchers, method.keep])
            # Below all levels that the network knows, FlipSigmas' .0001 for one, the latent is the clean one.
            reporter.finish(found if schedule[-1] < law.sigma_min else torch.cat(method.clean))
            return law.inverse_noise_scaling(sigmas[-1], found.to(latent_image.device)).view(form)


def own_levels(trajectory: Trajectory, parametrization: Parametrization, levels: Tensor | None, advice: str) -> Tensor:
    """The noise levels of a trajectory, falling. Raises ValueError for a model of another prediction, and with advice
    for other `levels`, where some are given."""
    if trajectory.parametrization is not parametrization:
        raise ValueError(f"The trajectory was made with a model of {trajectory.parametrization.value} prediction, this "
                         f"one has {parametrization.value}: connect the model that DDIMInvert used.")
    own = torch.tensor(trajectory.levels).flip(0)
    if levels is not None and (len(levels) != len(own) or not torch.allclose(levels, own, rtol=1e-4)):
        raise ValueError(f"The sigmas are not those of the trajectory: {advice}")
    return own


class _Remembering:
    """A method's way back that remembers the clean latents at which its last step points, in micro-batches.

    Only of those that are finished, of which `keep` hears: one that runs out of memory after that is taken again in
    parts.
    """

    def __init__(self, method: WayBack):
        self.method, self.name = method, method.name
        self.pointed_at = getattr(method, "pointed_at", None)
        self.clean: list[Tensor] = []
        self.pending: Tensor | None = None

    def resume(self, latents: Tensor, companion: Tensor | None) -> tuple[Tensor, ...]:
        return self.method.resume(latents, companion)

    def descend(self, velocity: Velocity, state: tuple[Tensor, ...], levels: Sequence[float],
                index: int) -> tuple[Tensor, ...]:
        lower = self.method.descend(velocity, state, levels, index)
        if index == 1:
            self.pending = clean_estimate(state[0], lower[0], levels[1], levels[0])
        return lower

    def keep(self, event: Event, state: Any) -> None:
        if self.pending is not None:
            self.clean.append(self.pending)
            self.pending = None


class _Callback:
    """Passes progress on to the callback of a ComfyUI sampler, which counts in steps and takes latents in the form of
    its own."""

    def __init__(self, callback, steps: int, denoiser: ComfyDenoiser):
        self.callback, self.steps, self.told = callback, steps, 0
        self.shown = functools.partial(as_shown, device=denoiser.device, single_frame=denoiser.single_frame)

    def __call__(self, event) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        step = int(event.fraction * self.steps + 1e-6)  # k / steps of a float may fall short of k
        if self.callback is not None and self.told < step < self.steps:
            self.told = step
            shown = self.shown(event.preview)
            self.callback(step - 1, shown, shown, self.steps)

    def finish(self, clean: Tensor) -> None:
        """The last step; ComfyUI keeps its clean latents (B, C, H, W) as the denoised output."""
        if self.callback is not None:
            shown = self.shown(clean)
            self.callback(self.steps - 1, shown, shown, self.steps)
