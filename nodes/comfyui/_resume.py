"""Saved states of runs: where they lie, and which model they are of."""
from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import comfy.ldm.modules.attention
import comfy.model_management
import comfy.model_patcher
import comfy.samplers
import folder_paths
import torch

from ...dma import execution, models
from ._denoiser import ComfyDenoiser
from ._rounding import computing_type, eps_of, rounding_of_model

# Roundings of the precision that weights are stored in, by which the answers of a model with a LoRA may differ: core
# rounds the changed weights to it where they are loaded whole, and not where they are loaded in part. At most UNLIKE,
# which is what the answers of one model may be apart at all.
ROUNDINGS_OF_WEIGHTS = 16
UNLIKE = 0.1

Found = TypeVar("Found", bound=execution.Resumable)


def run_state_folder() -> Path:
    """The folder of saved run states, under ComfyUI's user directory (the temp directory is emptied at every start)."""
    return Path(folder_paths.get_user_directory()) / "mental_averages" / "runs"


def saved_run(key: str, denoiser: ComfyDenoiser, levels: Sequence[float], shape: tuple[int, ...],
              features_at: Sequence[float] = (), *, answers: torch.Tensor | None = None) -> execution.RunState:
    """Where the run `key` on this model has its state; old states of other runs are removed first.

    The model is asked for predictions at all noise levels that the run uses, and for features where it reads them,
    unless its `answers` are known.
    """
    execution.clean_states(run_state_folder(), keep=key)
    if answers is None:
        answers = answers_of(denoiser, levels, shape, features_at)
    return execution.RunState(run_state_folder(), key, answers, tolerance_of(denoiser))


def answers_of(denoiser: ComfyDenoiser, levels: Sequence[float], shape: tuple[int, ...],
               features_at: Sequence[float] = ()) -> torch.Tensor:
    """What tells this model from others (`dma.models.fingerprint`), whatever memory is free."""
    return models.fingerprint(_one_prompt_at_a_time(denoiser), levels, shape, features_at=features_at)


def computed_by(denoiser: ComfyDenoiser) -> dict[str, str]:
    """What a model's answers are rounded by, in words that JSON can hold: where these agree, so do answers of one
    model but for a few roundings."""
    dtype = computing_type(denoiser.guider.inner_model)
    return {"device": comfy.model_management.get_torch_device_name(torch.device(denoiser.device)),
            "precision": str(dtype).removeprefix("torch."), "pytorch": torch.__version__,
            "attention": comfy.ldm.modules.attention.optimized_attention.__name__}


def saved_without_model(key: str) -> execution.RunState:
    """Where the run `key` of what asks no model has its state; old states of other runs are removed first."""
    execution.clean_states(run_state_folder(), keep=key)
    return execution.RunState(run_state_folder(), key, torch.ones(1))


def tolerance_of(denoiser: ComfyDenoiser) -> float:
    """How far the answers of one model to one question may be apart, relative to them."""
    return tolerance_of_model(denoiser.guider.model_patcher)


def tolerance_of_model(model: Any) -> float:
    """`tolerance_of` a Denoiser of a MODEL."""
    found = rounding_of_model(model)
    if model.patches:
        rounded_to = (model.model.get_dtype(), comfy.model_management.lora_compute_dtype(model.load_device))
        found = max(found, min(UNLIKE, ROUNDINGS_OF_WEIGHTS * max(map(eps_of, rounded_to))))
    return found


def resumed(title: str, unpacked: Callable[[dict[str, torch.Tensor], dict], Found],
            place: execution.SavedState | None) -> Found | None:
    """The state that was saved in a place, if any; the log then says where the node `title` goes on."""
    state = execution.resumed(unpacked, place)
    if state is not None:
        logging.info("%s: resumed at %s.", title, state.where)
    return state


def found_again(title: str, part: str,
                place: execution.SavedState | None) -> tuple[dict[str, torch.Tensor], dict] | None:
    """What was saved of a part of a run, if anything; the log then says so of the node `title`."""
    found = place.load() if place else None
    if found:
        logging.info("%s: resumed at %s.", title, part)
    return found


def checkpoints(place: Any) -> list[execution.Checkpoint]:
    """The watcher that saves a run's state in a place; none without a place."""
    return [] if place is None else [execution.Checkpoint(place)]


def _one_prompt_at_a_time(denoiser: ComfyDenoiser) -> ComfyDenoiser:
    """The same Denoiser with each side of the guidance evaluated by itself: core evaluates them together when there is
    memory for it, which rounds otherwise."""
    options = comfy.model_patcher.create_model_options_clone(denoiser.options["model_options"])
    options.setdefault("sampler_calc_cond_batch_function", _each_by_itself)
    return denoiser.changed(options={**denoiser.options, "model_options": options})


def _each_by_itself(arguments: dict) -> list:
    conditionings = arguments["conds"]
    found = []
    for index, conditioning in enumerate(conditionings):
        alone = [conditioning if number == index else None for number in range(len(conditionings))]
        found.append(comfy.samplers.calc_cond_batch(arguments["model"], alone, arguments["input"], arguments["sigma"],
                                                    arguments["model_options"])[index])
    return found
