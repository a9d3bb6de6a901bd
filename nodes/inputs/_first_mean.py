"""The first mean of an average that several ComfyUIs have taken: what it depends on, and whether it fits."""
from __future__ import annotations

import logging
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ...dma import execution
from ...dma.statistics import Shard, settings_key
from .. import comfyui
from ._sockets import FIRST_MEAN

# Part of the key of every shard. Raise the number when rows of the same settings are others than before.
ALGORITHM = "first mean 2"
FEATURES_OF_MEAN, PREDICTIONS_OF_MEAN = "features", "predictions"
BY_MODEL = "model and prompts"
# What the values are called that a shard and the node which takes the mean have to agree on.
INPUTS_OF_MEAN = {"values": "what is averaged (average of MeanShard)", "shape": "latent_image",
                  "sigma": "steps and scheduler", "guidance_scale": "cfg and guidance_share",
                  BY_MODEL: "model and prompts"}
# By how much the answers of one model to one question may be apart, relative to them: so many times what one machine
# may round them by, and at most a tenth, which machines may that are not alike. At the first noise level a prediction
# is the small difference of large numbers, in which half precision leaves some hundredths.
ROUNDINGS = 10.0


def first_mean() -> io.Custom.Input:
    return FIRST_MEAN.Input("first_mean", optional=True,
                            tooltip="From MergeMeans: the first mean, which other ComfyUIs have taken. Everything that "
                                    "it depends on has to be the same here.")


def settings_of_mean(values: str, model: Any, positive: list, negative: list, shape: tuple[int, ...], sigmas: Tensor,
                     seed: int, guidance_scale: float, **further: Any) -> dict[str, Any]:
    """All that the rows of a first mean depend on, as what JSON can hold: `values` is FEATURES_OF_MEAN or
    PREDICTIONS_OF_MEAN, and `further` says where features are read."""
    settings = {"values": values, "shape": list(shape), "sigma": comfyui.rounded_level(sigmas[0].item()), "seed": seed,
                "guidance_scale": guidance_scale, **further}
    content = comfyui.run_key(model, ALGORITHM, {}, {"positive": positive, "negative": negative})
    return {**settings, BY_MODEL: content}


def check_first_mean(found: Shard, settings: dict[str, Any]) -> None:
    """Raise ValueError, naming the inputs, unless a mean is that of these settings."""
    if found.key == settings_key(settings, found.total):
        return
    names = [name for name in {**found.settings, **settings} if found.settings.get(name) != settings.get(name)]
    called = [INPUTS_OF_MEAN.get(name, name) for name in names]
    raise ValueError(f"first_mean is that of another run: {', '.join(called)} "
                     f"{'are' if len(names) > 1 or ' and ' in called[0] else 'is'} not the same as in "
                     "the MeanShard nodes that it was made by.")


def asked_for_mean(denoiser: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """What a model answers to fixed noise where a first mean of `settings` is taken, and what has rounded that: the
    fields of a Shard by which models are told apart that settings do not, such as by what a node's function does."""
    level = [settings["sigma"]]
    answers = comfyui.answers_of(denoiser, level, tuple(settings["shape"]),
                                 level if settings["values"] == FEATURES_OF_MEAN else [])
    return {"answers": answers,
            "made_by": {**comfyui.computed_by(denoiser), "tolerance": comfyui.tolerance_of(denoiser)}}


def apart(one: Shard, answers: Tensor, made_by: dict[str, Any]) -> float | None:
    """How far the answers of a shard's model are from these, relative to them, where that is more than machines round;
    None where they may be those of one model."""
    distance = execution.distance_of_answers(one.answers, answers)
    roundings = ROUNDINGS * max(each.get("tolerance", 0.0) for each in (one.made_by, made_by))
    allowed = min(comfyui.UNLIKE, roundings) if _rounding(one.made_by) == _rounding(made_by) else comfyui.UNLIKE
    return None if distance <= allowed else distance


def check_model_of_mean(found: Shard, denoiser: Any, settings: dict[str, Any]) -> None:
    """Raise ValueError unless a mean is that of this model."""
    distance = apart(found, **asked_for_mean(denoiser, settings))
    if distance is not None:
        raise ValueError("first_mean is that of another model, although weights and prompts are the same: what the two "
                         f"predict differs by {distance:.1%}. Connect the MODEL here through the same nodes, with the "
                         "same settings, as that of the MeanShard nodes.")


def check_one_model(shards: list[Shard], names: list[str]) -> None:
    """Raise ValueError unless shards of the same settings are those of one model; the log says where machines that have
    made them round otherwise."""
    first = shards[0]
    for shard, name in zip(shards[1:], names[1:]):
        distance = apart(first, shard.answers, dict(shard.made_by))
        if distance is not None:
            raise ValueError(f"{name} was made by another model than {names[0]}, although weights and prompts are the "
                             f"same: what the two predict differs by {distance:.1%}. Load the model through the same "
                             "nodes, with the same settings, on all servers, and make one of them again.")
    machines = sorted({_rounding(shard.made_by) for shard in shards})
    if len(machines) > 1:
        logging.warning("MergeMeans: the servers that have made these shards are not alike, and have rounded "
                        "otherwise: %s.", "; ".join(machines))


def _rounding(made_by: Any) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(made_by.items()) if name != "tolerance")
