"""The Denoiser in the middle of a ComfyUI sampling: predictions and features by core's own functions."""
from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import comfy.model_management
import comfy.model_patcher
import comfy.samplers
import torch
from torch import Tensor

from ...dma.diffusion import Parametrization
from ...dma.models import output_of, outputs_of, pooled
from ._architectures import Place, places
from ._draws import Draws
from ._dynamic_vram import asking, forget_passes
from ._gradients import attention_with_backward
from ._noise_law import parametrization_of
from ._recording import step_records
from ._rounding import rounding_of_model
from ._rows import check_patches, conditions_of, give_conditions, mixes_latents, of_latents, per_latent, row_by_row
from ._sampling_kind import DETERMINISTIC

# What core's EasyCache and LazyCache wrap around a model. They take every call for the next step of one sampling, while
# those of a Denoiser are micro-batches, readings of features and previews.
CACHES = ("easycache", "lazycache")


def without_wrappers(guider: comfy.samplers.CFGGuider, options: dict,
                     keys: tuple[str, ...]) -> tuple[comfy.samplers.CFGGuider, dict]:
    """A guider and its sampler's options without what nodes have wrapped around the model under `keys`; the originals
    stay."""
    def cleaned(model_options: dict) -> dict:
        model_options = comfy.model_patcher.create_model_options_clone(model_options)
        for wrappers in model_options["transformer_options"].get("wrappers", {}).values():
            for key in keys:
                wrappers.pop(key, None)
        return model_options

    guider = copy.copy(guider)
    guider.model_options = cleaned(guider.model_options)
    return guider, {**options, "model_options": cleaned(options["model_options"])}


def is_video_shaped(model: Any) -> bool:
    """Whether the network takes pictures as videos (B, C, 1, H, W) of one frame."""
    return model.model.latent_format.latent_dimensions == 3


class ComfyDenoiser:
    """`dma.diffusion.Denoiser` on a CFGGuider in the middle of its sampling; made by `with_denoiser` only.

    latents: how many the caller has, where they are a batch of the user's own; None where they are samples of one
    thing. Raises ValueError where something is there for each latent of a batch, and there is no such batch.
    """

    def __init__(self, guider: comfy.samplers.CFGGuider, options: dict, recording: Callable[[], Any],
                 sigmas: Tensor, parametrization: Parametrization, layer: str | None, pooling: str, branch: str,
                 draws: Draws, latents: int | None, sampler: str = DETERMINISTIC):
        self.guider, self.options, self.recording, self.parametrization = guider, options, recording, parametrization
        self.draws, self.options = draws, row_by_row(draws.through(options))
        check_patches(self.options["model_options"])
        self.alone = mixes_latents(guider, self.options["model_options"])
        self.conditions = conditions_of(guider)
        differing = per_latent(self.conditions)
        if differing and latents is None:
            raise ValueError(f"{differing[0]}, one for each latent of a batch, but here all latents are samples of the "
                             "same thing. Connect one.")
        # The numbers of the latents in the user's batch, where that matters, and Denoisers of parts of it.
        self.rows: Sequence[int] | None = range(latents) if differing and latents is not None else None
        self.parts: dict[tuple[int, ...], ComfyDenoiser] | None = {}
        self.layer, self.pooling, self.branch = layer, pooling, branch
        self.place = places(guider.inner_model.diffusion_model)[layer] if layer else None
        self.device = guider.model_patcher.load_device
        self.rounding = rounding_of_model(guider.model_patcher)
        # Where latents are finished: what a node makes itself waits on the CPU, and there is rescaled for the next one.
        self.finishes_on = torch.device("cpu")
        self.single_frame = is_video_shaped(guider.model_patcher)
        self.records = step_records(guider, self.options["model_options"], sigmas, sampler, self._finished)

    def of(self, rows: Sequence[int]) -> ComfyDenoiser:
        """The same Denoiser for some of its latents, by their numbers among them (`dma.diffusion.of_rows`)."""
        if self.rows is None:
            return self
        chosen = tuple(self.rows[row] for row in rows)
        if chosen in (self.parts or ()):
            return self.parts[chosen]
        part = self.changed(rows=chosen, parts={} if self.alone else None, guider=copy.copy(self.guider))
        give_conditions(part.guider, of_latents(self.conditions, chosen))
        if self.parts is not None:
            # Micro-batches come again at every step, and a ControlNet has encoded their hints; parts of them come again
            # only where each latent is asked for alone.
            self.parts[chosen] = part
        return part

    def changed(self, **changes: Any) -> ComfyDenoiser:
        """A copy with other attributes. It makes the Denoisers of parts of its latents anew, as they have to change,
        too."""
        other = copy.copy(self)
        vars(other).update({"parts": None if self.parts is None else {}, **changes})
        return other

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        self._begin(x, sigma)
        if self.alone and len(x) > 1:
            return torch.cat([self.of([row]).denoise(x[row : row + 1], sigma) for row in range(len(x))])
        with torch.no_grad(), asking(self.guider):
            return self._as_pictures(self.guider(self._as_model(x), self._levels(x, sigma), **self.options))

    def stepped(self, sigma: float, following: float, rows: slice, clean: Tensor, latents: Tensor) -> None:
        """Heard of each deterministic step, for those who record the sampling."""
        for record in self.records:
            record.stepped(sigma, following, rows, clean, latents)

    def with_guidance(self, scale: float) -> ComfyDenoiser:
        """The same Denoiser at another guidance scale."""
        other = self.changed(guider=copy.copy(self.guider))
        other.guider.set_cfg(scale)
        return other

    def unconditional_embedding(self) -> Tensor:
        """The negative prompt's text embedding (1, T, D). Raises ValueError unless it is one plain prompt."""
        entries = self.guider.conds["negative"]
        found = entries[0]["model_conds"].get("c_crossattn") if len(entries) == 1 else None
        if found is None:
            raise ValueError("Optimising the unconditional embedding needs a negative conditioning of one plain "
                             "prompt, on a model that reads prompts by cross-attention: connect a single CLIP Text "
                             "Encode.")
        return found.cond

    def denoise_with(self, x: Tensor, sigma: float, embedding: Tensor) -> Tensor:
        """`denoise` with the negative prompt's embedding replaced by `embedding` (1 or B, T, D), differentiable in
        it."""
        self._begin(x, sigma)
        if self.alone and len(x) > 1:
            each = embedding.expand(len(x), -1, -1)
            return torch.cat([self.of([row]).denoise_with(x[row : row + 1], sigma, each[row : row + 1])
                              for row in range(len(x))])
        (entry,) = self.guider.conds["negative"]
        kind = type(entry["model_conds"]["c_crossattn"])
        replaced = {**entry, "model_conds": {**entry["model_conds"], "c_crossattn": kind(embedding)}}
        with self.recording(), asking(self.guider):
            return self._as_pictures(comfy.samplers.sampling_function(
                self.guider.inner_model, self._as_model(x), self._levels(x, sigma), [replaced],
                self.guider.conds["positive"], self.guider.cfg, self._differentiable()))

    def start_scale(self, sigma: float) -> float:
        """What core's samplers multiply noise by where they start at this noise level: for eps and v models sqrt(1 +
        sigma^2) at the model's highest and beyond, and sigma below it, where ddim_uniform, for one, begins."""
        level, sampling = torch.tensor([sigma]), self.guider.inner_model.model_sampling
        highest = comfy.samplers.Sampler().max_denoise(self.guider, level)
        return sampling.noise_scaling(level, torch.ones(1), torch.zeros(1), highest).item()

    def noise_levels(self) -> Tensor:
        """The table (T,) of noise levels of the model's timesteps, all above 0, on the CPU."""
        return self.guider.inner_model.model_sampling.sigmas.detach().float().cpu().clone()

    def denoise_differentiably(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The prediction of x0 under the positive prompt alone, at a noise level (B,) of its own for every row.

        Where gradients are enabled it can be differentiated in x and in whatever takes part in the network's forward
        pass.
        """
        self._begin(x, None)
        entries = self.guider.conds["positive"]
        # Core asks the first row alone which entries are active, and other nodes' patches at which level they are.
        patched = any(self.options["model_options"].get("transformer_options", {}).get(name)
                      for name in ("patches", "patches_replace"))
        together = (1 if patched or any({"timestep_start", "timestep_end", "control"} & entry.keys()
                                        for entry in entries) else len(x))
        with self.recording(), asking(self.guider):
            return torch.cat([self._as_pictures(comfy.samplers.calc_cond_batch(
                self.guider.inner_model, [entries], self._as_model(rows), levels, self._differentiable())[0])
                for rows, levels in zip(x.split(together), sigma.split(together))])

    def features(self, x: Tensor, sigma: float) -> Tensor:
        if self.place is None:
            raise ValueError("This Denoiser was made without a layer to read features at.")
        self._begin(x, sigma)
        if self.branch == "guided":
            conditional, unconditional = (self._features_of(name, x, sigma) for name in ("positive", "negative"))
            return unconditional + self.guider.cfg * (conditional - unconditional)
        return self._features_of("positive" if self.branch == "conditional" else "negative", x, sigma)

    def all_features(self, x: Tensor, sigma: float, layers: list[str],
                     reduced: Callable[[str, Tensor], Tensor] = lambda layer, features: features) -> dict[str, Tensor]:
        """`features` (B, ...) at several layers from one forward pass, which ends at the last of them. No gradient is
        recorded.

        `reduced(layer, features)` is called as soon as a layer has run, and only what it returns is kept, so that one
        map at a time is in memory. It must be linear, because features of several entries or branches are mixed
        afterwards.
        """
        self._begin(x, sigma)
        chosen = places(self.guider.inner_model.diffusion_model)
        read = functools.partial(self._all_features_of, x=x, sigma=sigma, places=[chosen[layer] for layer in layers],
                                 reduced=reduced)
        with torch.no_grad():
            if self.branch == "guided":
                conditional, unconditional = read("positive"), read("negative")
                return {layer: found + self.guider.cfg * (conditional[layer] - found)
                        for layer, found in unconditional.items()}
            return read("positive" if self.branch == "conditional" else "negative")

    def at(self, layer: str) -> ComfyDenoiser:
        """The same Denoiser with its features read at another layer."""
        return self.changed(layer=layer, place=places(self.guider.inner_model.diffusion_model)[layer])

    def _begin(self, x: Tensor, sigma: float | None) -> None:
        """Before every evaluation of the model."""
        comfy.model_management.throw_exception_if_processing_interrupted()
        if self.rows is not None and len(x) != len(self.rows):
            raise ValueError(f"This Denoiser has something for each of {len(self.rows)} latents, but was given "
                             f"{len(x)}: ask that of the right ones, by of().")
        self.draws.at(sigma)

    def _finished(self, latents: Tensor) -> Tensor:
        """LATENT samples of finished latents (N, C, H, W), to the last bit: devices divide differently."""
        latents = self._as_model(latents.detach().float().to(self.finishes_on))
        return self.guider.inner_model.process_latent_out(latents)

    def _as_model(self, x: Tensor) -> Tensor:
        return x.unsqueeze(2) if self.single_frame else x  # (B, C, 1, H, W) or (B, C, H, W)

    def _as_pictures(self, x: Tensor) -> Tensor:
        return (x.squeeze(2) if self.single_frame else x).float()

    def _levels(self, x: Tensor, sigma: float) -> Tensor:
        return torch.full((len(x),), sigma, device=x.device)

    def _differentiable(self) -> dict:
        options = comfy.model_patcher.create_model_options_clone(self.options["model_options"])
        options["transformer_options"]["optimized_attention_override"] = attention_with_backward
        # Core evaluates on several devices in threads of its own, which record no gradient.
        options.pop("multigpu_clones", None)
        return options

    @contextlib.contextmanager
    def _early_exit(self) -> Iterator[None]:
        """Around a forward pass that ends in mid-network."""
        try:
            with self.recording(), asking(self.guider):
                yield
        finally:
            forget_passes(self.guider.model_patcher)

    def _features_of(self, name: str, x: Tensor, sigma: float) -> Tensor:
        """Features under one side's prompt: the mean over its entries that are active at this noise level."""
        total, passes = 0.0, self._passes(name, x, sigma)
        for strength, forward in passes:
            with self._early_exit():
                output = output_of(self.place.module, forward)
            if output is None:
                raise _did_not_run(self.layer)
            features = self.place.features(output, x.shape[-2:])  # (B, C, h, w)
            total = total + strength * _at_least_fp32(features)
        features = total / sum(strength for strength, _ in passes)
        return pooled(features, self.pooling)

    def _all_features_of(self, name: str, x: Tensor, sigma: float, places: list[Place],
                         reduced: Callable[[str, Tensor], Tensor]) -> dict[str, Tensor]:
        """`_features_of` at several places, by layer."""
        passes, totals = self._passes(name, x, sigma), dict.fromkeys((place.name for place in places), 0.0)
        for strength, forward in passes:
            found: dict[str, Tensor] = {}

            def take(place: Place, output: Any) -> None:
                # Cloned, because a later block may work in place on what this one returned.
                features = _at_least_fp32(place.features(output, x.shape[-2:])).clone()  # (B, C, h, w)
                found[place.name] = reduced(place.name, pooled(features, self.pooling))

            with self._early_exit():
                outputs_of([(place.module, functools.partial(take, place)) for place in places], forward)
            for layer in totals:
                if layer not in found:
                    raise _did_not_run(layer)
                totals[layer] = totals[layer] + strength * found[layer]
        return {layer: total / sum(strength for strength, _ in passes) for layer, total in totals.items()}

    def _passes(self, name: str, x: Tensor, sigma: float) -> list[tuple[float, Callable[[], Any]]]:
        """The entries of one side's conditioning that are active at this noise level: strength and forward pass of
        each.

        One call per entry, so that memory never decides which entries are evaluated together.
        """
        inner, options, levels = self.guider.inner_model, self._differentiable(), self._levels(x, sigma)
        x = self._as_model(x)
        active = [entry for entry in self.guider.conds[name]
                  if comfy.samplers.get_area_and_mult(entry, x, levels) is not None]
        weights = [(entry.get("strength", 1.0), entry) for entry in active if "default" not in entry]
        # Core gives each default entry, whatever its own strength, what the others leave of 1.
        left = max(0.0, 1.0 - sum(strength for strength, _ in weights))
        weights = [(strength, entry)
                   for strength, entry in (*weights, *((left, entry) for entry in active if "default" in entry))
                   if strength]
        if not weights:
            raise ValueError(f"No part of the {name} conditioning is active at noise level {sigma:.3g}: widen the "
                             "range of Conditioning Set Timestep Range.")
        # Patches tell the sides apart by their index: 0 is the positive prompt, 1 the negative one.
        before = [] if name == "positive" else [None]
        return [(strength,
                 functools.partial(comfy.samplers.calc_cond_batch, inner, [*before, [entry]], x, levels, options))
                for strength, entry in weights]


def _did_not_run(layer: str) -> ValueError:
    return ValueError(f"The layer {layer} did not run: another node has compiled this model or replaced the "
                      "layer. Connect the model from before that node, or choose another layer in HSpaceHook.")


def predictor(guider: comfy.samplers.CFGGuider, options: dict, latents: int, sigmas: Tensor,
              sampler: str = DETERMINISTIC) -> ComfyDenoiser:
    """The Denoiser of a CFGGuider whose sampling of so many latents is under way, for predictions alone."""
    found = ComfyDenoiser(*without_wrappers(guider, options, CACHES), contextlib.nullcontext, sigmas,
                          parametrization_of(guider.model_patcher), None, "none", "conditional",
                          Draws(options.get("seed") or 0), latents, sampler)
    found.finishes_on = found.device  # by core itself
    return found


def _at_least_fp32(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
