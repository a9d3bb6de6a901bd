"""Running a function on the Denoiser of a MODEL.

Everything runs inside a Sampler of core's own CFGGuider, so that conditioning, model loading, patches, ControlNets and
clean-up are exactly those of a KSampler on the same MODEL. What is added for gradients and for reading features is
undone in `finally`."""
from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

import comfy.model_management
import comfy.sample
import comfy.samplers
import torch
from comfy_api.torch_helpers.torch_compile import COMPILE_KEY
from torch import Tensor

from ...dma.execution import BatchSize
from ._advice import advising_on_results
from ._architectures import AUTO_LAYER, called_modules, works_in_place
from ._conditioning import normal_tensors
from ._denoiser import CACHES, ComfyDenoiser, is_video_shaped, without_wrappers
from ._draws import Draws, seeded_as_core
from ._dynamic_vram import networks_of, with_weights_that_stay
from ._fit import explaining_misfits, missing_part
from ._gradients import checkpointed, differentiable, normal_weights
from ._model import resolve_layer
from ._noise_law import parametrization_of
from ._sampling_kind import DETERMINISTIC

# A backward pass holds several times the memory of the forward pass that ComfyUI estimates.
BACKWARD_MEMORY = 4
BRANCHES = ("conditional", "unconditional", "guided")
Result = TypeVar("Result")


class _DenoiserSampler(comfy.samplers.Sampler):
    """Runs a function on the ComfyDenoiser in the place where a KSampler would run its loop, and keeps what it
    returns."""

    tells_steps = True  # by the Denoiser; there is no callback

    def __init__(self, function: Callable[[ComfyDenoiser], Any], gradients: bool, save_memory: bool, **choices):
        self.function, self.gradients, self.save_memory, self.choices = function, gradients, save_memory, choices
        self.result, self.reached = None, False

    def sample(self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None,
               disable_pbar=False):
        self.reached = True
        with contextlib.ExitStack() as stack:
            recording = (self._prepared(model_wrap, extra_args["model_options"], stack) if self.gradients
                         else contextlib.nullcontext)
            # A compiled network has no layers to read, and would be compiled again for the weights as they are here.
            denoiser = ComfyDenoiser(*without_wrappers(model_wrap, extra_args, (*CACHES, COMPILE_KEY)), recording,
                                     sigmas, **self.choices)
            stack.enter_context(explaining_misfits(denoiser, noise[:1], sigmas))
            self.result = self.function(denoiser)
        return latent_image

    def _prepared(self, model_wrap: Any, model_options: dict, stack: contextlib.ExitStack) -> Callable[[], Any]:
        """Make ready for gradients all that takes part, until the stack is closed; gives the context of a forward
        pass."""
        network = model_wrap.inner_model.diffusion_model
        controls = any(entry.get("control") is not None for entries in model_wrap.conds.values() for entry in entries)
        resident = stack.enter_context(normal_weights(networks_of(model_wrap), model_options))
        # Other nodes' patches, FreeU for one, and ControlNets add in place; buffers of weights that do not fit the
        # device are written to again.
        patches = {"patches", "patches_replace"} & model_options.get("transformer_options", {}).keys()
        copies = works_in_place(network) or controls or patches or model_wrap.inner_model.model_lowvram
        if self.save_memory:
            stack.enter_context(checkpointed(called_modules(network), resident))
        return lambda: differentiable(resident if copies else None)


def with_denoiser(model: Any, positive: list, negative: list, guidance_scale: float, sigmas: Tensor,
                  shape: tuple[int, ...], seed: int, function: Callable[[ComfyDenoiser], Result],
                  layer: str | None = AUTO_LAYER, pooling: str = "none", branch: str = "conditional",
                  save_memory: bool = False, latents: int | None = None, draws_in_turn: bool = False,
                  gradients: bool = True, at_once: int = 0, sampler: str = DETERMINISTIC) -> Result:
    """Call `function` on the Denoiser of a MODEL and return what it returns.

    `shape` (C, H, W) is that of the latents the Denoiser will see. With `layer` None it has no features, only
    predictions. `save_memory` keeps only the inputs of blocks for the backward pass, which then costs one more forward
    pass; the gradient is the same. With `gradients` inference mode is off inside, and a model in dynamic VRAM is used
    in its static form; without, for predictions and reading features, the MODEL runs as it does in a KSampler.

    `latents`: how many there are, where they are a batch of the user's own, of which the Denoiser is asked for parts by
    its `of`. Without, ValueError is raised for what holds one entry for each latent, such as a batch of ControlNet
    hints. What patches draw from PyTorch's global generators follows from the seed and the noise level, or with
    `draws_in_turn`, for a single latent, is what they would draw in a KSampler; the generators are left as they were.
    `at_once`: how many latents the model sees at once at most, where the user has said it, and not more than there are:
    ComfyUI frees memory for as many. 0: for as many as the pack begins with by itself. `sampler`: what the steps are
    called that `function` takes, for those who record them.
    """
    choices = dict(parametrization=parametrization_of(model), layer=resolve_layer(model, layer) if layer else None,
                   pooling=pooling, branch=branch, draws=Draws(seed, draws_in_turn), latents=latents,
                   sampler=sampler)
    with (torch.inference_mode(False) if gradients else contextlib.nullcontext(), torch.no_grad(),
          seeded_as_core(shape, seed)):
        if gradients:
            model = with_weights_that_stay(model)
        loop = _DenoiserSampler(function, gradients, save_memory, **choices)
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(normal_tensors(positive), normal_tensors(negative))
        guider.set_cfg(guidance_scale)
        # Only its shape matters: ComfyUI frees memory for that many latents.
        rows = (at_once or BatchSize.automatic(torch.Size(shape).numel()).value) * (BACKWARD_MEMORY if gradients else 1)
        noise = torch.zeros((1, shape[0], *([1] if is_video_shaped(model) else []), *shape[1:]))
        noise = noise.expand(rows, *noise.shape[1:])
        try:
            with advising_on_results():
                guider.sample(noise, torch.zeros_like(noise), loop, sigmas, seed=seed)
        except KeyError as error:
            # Before the sampler core makes of prompts what the model reads.
            lacking = None if loop.reached else missing_part(error, (positive, negative))
            if lacking is None:
                raise
            raise lacking from error
        return loop.result
