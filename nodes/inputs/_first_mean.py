"""The first mean of an average that several ComfyUIs have taken: what it depends on, and whether it fits."""
from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ...dma.statistics import Shard, settings_key
from .. import comfyui
from ._sockets import FIRST_MEAN

# Part of the key of every shard. Raise the number when rows of the same settings are others than before.
ALGORITHM = "first mean 1"
FEATURES_OF_MEAN, PREDICTIONS_OF_MEAN = "features", "predictions"
BY_MODEL = "model and prompts"
# What the values are called that a shard and the node which takes the mean have to agree on.
INPUTS = {"values": "what is averaged (average of MeanShard)", "shape": "latent_image",
          "sigma": "steps and scheduler", "guidance_scale": "cfg and guidance_share", BY_MODEL: "model and prompts"}


def first_mean() -> io.Custom.Input:
    return FIRST_MEAN.Input("first_mean", optional=True,
                            tooltip="From MergeMeans: the first mean, which other ComfyUIs have taken. Everything that "
                                    "it depends on has to be the same here.")


def settings_of_mean(values: str, model: Any, positive: list, negative: list, shape: tuple[int, ...], sigmas: Tensor,
                     seed: int, guidance_scale: float, **further: Any) -> dict[str, Any]:
    """All that the rows of a first mean depend on, as what JSON can hold: `values` is FEATURES_OF_MEAN or
    PREDICTIONS_OF_MEAN, and `further` says where features are read."""
    settings = {"values": values, "shape": list(shape), "sigma": sigmas[0].item(), "seed": seed,
                "guidance_scale": guidance_scale, **further}
    content = comfyui.run_key(model, ALGORITHM, settings, {"positive": positive, "negative": negative})
    return {**settings, BY_MODEL: content}


def check_first_mean(found: Shard, settings: dict[str, Any]) -> None:
    """Raise ValueError, naming the inputs, unless a mean is that of these settings."""
    if found.key == settings_key(settings, found.total):
        return
    # The model's part is made of the others too: it says something only where those are the same.
    names = [name for name in {**found.settings, **settings} if name != BY_MODEL
             and found.settings.get(name) != settings.get(name)] or [BY_MODEL]
    raise ValueError(f"first_mean is that of another run: {', '.join(INPUTS.get(name, name) for name in names)} "
                     f"{'are' if len(names) > 1 or ' and ' in INPUTS.get(names[0], '') else 'is'} not the same as in "
                     "the MeanShard nodes that it was made by.")
