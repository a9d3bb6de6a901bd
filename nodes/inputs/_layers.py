"""Layers at which features are read, how features are pooled, and at which noise levels."""
from __future__ import annotations

import fnmatch
from typing import Any

import torch
from comfy_api.latest import io

from ...dma.models import POOLINGS
from .. import comfyui
from ._number_text import numbers, words

# New names go to the end: saved graphs name a layer, and only the list's beginning is read at a glance.
LAYERS = [comfyui.AUTO_LAYER, "middle_block",
          *(f"{path}.{index}" for path, count in [
              ("input_blocks", 12), ("output_blocks", 12),  # U-Nets
              ("joint_blocks", 38),  # Stable Diffusion 3.5 large
              ("double_blocks", 19), ("single_blocks", 48),  # Flux and Chroma; Flux 2
              ("blocks", 40),  # PixArt, HunyuanDiT
              ("double_layers", 4), ("single_layers", 32),  # AuraFlow
              ("noise_refiner", 2), ("layers", 30),  # Lumina 2, Z-Image
              ("transformer_blocks", 60),  # Qwen-Image
          ] for index in range(count))]


def pooling(tooltip: str, default: str = "none", **options: Any) -> io.Combo.Input:
    return io.Combo.Input("pooling", options=list(POOLINGS), default=default, tooltip=tooltip, **options)


def chosen_layers(names: list[str], text: str) -> list[str]:
    """The names that fit one of the words in a text, in their own order; all of them for an empty text.

    A word fits itself, what begins with it and a dot, and as a pattern with * and ?. Raises ValueError for words that
    fit none.
    """
    kept = set(names if not text.strip() else ())
    for word in words(text):
        found = [name for name in names if fnmatch.fnmatchcase(name, word) or name.startswith(f"{word}.")]
        if not found:
            raise ValueError(f"No layer of this model fits {word!r}. Its layers are: {', '.join(names)}.")
        kept.update(found)
    return [name for name in names if name in kept]


def source_of_directions(names: list[str]) -> list[str]:
    """Of the names of a network's layers those at which arXiv 2512.20963 finds directions: of a U-Net its middle block
    and the first half of its output blocks; all of other networks.

    Nearer to the output a U-Net holds less what the picture shows than what of it is still to be taken out, and its
    directions lead the other way.
    """
    decoder = _decoder(names)
    kept = (comfyui.MIDDLE_BLOCK, *decoder[: len(decoder) // 2])
    return [name for name in names if name in kept] if decoder else list(names)


def source_of_memorisation(names: list[str]) -> list[str]:
    """Of the names of a network's layers those whose residual blocks the code of arXiv 2512.20963 reads for what is
    memorised, of Stable Diffusion 1.x four of twelve: the first third of a U-Net's output blocks; the block in the
    middle of other networks."""
    decoder = _decoder(names)
    return decoder[: max(1, len(decoder) // 3)] if decoder else [names[len(names) // 2]]


def _decoder(names: list[str]) -> list[str]:
    return [name for name in names if name.startswith("output_blocks")]


def noise_levels(model: Any, text: str) -> list[float]:
    """The noise levels of a MODEL, falling and each once, that a text names as shares of sampling: 0 is the start,
    pure noise, and 1 a clean latent. Raises ValueError for other numbers."""
    shares = numbers(text, "levels", "0.5, 0.8")
    if not all(0 <= share <= 1 for share in shares):
        raise ValueError(f"The levels {text!r} are not shares of sampling: write numbers from 0 (pure noise) to 1 "
                         "(clean), for example 0.5, 0.8.")
    sampling = comfyui.noise_law(model)
    # Some laws (EDM) ask the network about the logarithm of a level, and know nothing below their lowest.
    at_zero = sampling.timestep(torch.zeros(1, device=sampling.sigmas.device))
    lowest = 0.0 if at_zero.isfinite().all() else float(sampling.sigma_min)
    # At 0 core answers with a level beyond any schedule.
    levels = {min(max(float(sampling.percent_to_sigma(share)), lowest), float(sampling.sigma_max)) for share in shares}
    return sorted(levels, reverse=True)
