"""Directions between kinds of real demo pictures, and samples that are steered along them, for steer.py."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from support import GUIDANCE, SCHEDULER, STEPS, STYLE, TONE, DemoModel, as_pictures, labels_of, on_model, plain_samples
from torch import Tensor

import dataset
import pack
from mental_averages.dma.steering import Direction

SOURCE, MIDDLE, LATE, ALL = "source", "middle", "late", "all"  # layers
SEED = 4242


@dataclass(frozen=True)
class Target:
    """What samples are steered to: pictures with one of the labels, away from those with one of the others."""

    kind: str
    name: str
    labels: tuple[str, ...]
    others: tuple[str, ...]


STYLES = tuple(icons.style for icons in dataset.ICON_SETS)
TARGETS = (
    Target(TONE, "dark", ("dark", "medium dark"), ("light", "medium light")),
    Target(TONE, "light", ("light", "medium light"), ("dark", "medium dark")),
    *(Target(STYLE, style, (style,), tuple(other for other in STYLES if other != style))
      for style in ("twitter", "blob", "flat")),
)


@dataclass(frozen=True)
class Way:
    """How samples are steered: where the direction is read, and where and how much of it is added."""

    strength: float
    where: str = ALL  # in the network
    percent: float = 0.6
    start: float = 0.0
    end: float = 1.0
    conditional: bool = False
    weighting: str = "lead"


def layers_of(names: Sequence[str], where: str) -> list[str]:
    """Layers by where they are: those of the source, the one in the middle, the last quarter, or all."""
    from mental_averages.nodes.inputs import source_of_directions

    is_unet = "middle_block" in names
    if where == MIDDLE:
        return ["middle_block"] if is_unet else [names[len(names) // 2]]
    if where == LATE:
        last = [name for name in names if name.startswith("output_blocks")] or list(names)
        return last[-max(1, len(last) // 4):]
    return list(names) if where == ALL else source_of_directions(list(names))


def pictures_of(target: Target, folder: Path, count: int) -> tuple[Tensor, Tensor]:
    """So many training pictures (N, H, W, 3) of either set, of the same concepts in equal parts where there are."""
    pictures, images = dataset.load(folder)
    tones = labels_of("skin_tone", pictures)
    labels = [picture.style if target.kind == STYLE else tone for picture, tone in zip(pictures, tones)]
    # Styles are compared on pictures without a skin tone, of which there would be six of each person.
    rows = {wanted: [row for row, (picture, label) in enumerate(zip(pictures, labels))
                     if label in wanted and not picture.held_out and (target.kind == TONE or not tones[row])]
            for wanted in (target.labels, target.others)}
    shared = set.intersection(*({pictures[row].concept for row in found} for found in rows.values()))
    generator = np.random.default_rng(0)
    chosen = []
    for found in rows.values():
        found = [row for row in found if pictures[row].concept in shared]
        chosen.append(sorted(generator.choice(found, min(count, len(found)), replace=False)))
    positive, negative = (as_pictures(images[each]) for each in chosen)
    return positive, negative


def direction_of(demo: DemoModel, target: Target, way: Way, folder: Path, count: int, draws: int) -> Direction:
    """The direction, as the node DirectionFromPictures makes it under an empty prompt."""
    from mental_averages.nodes import comfyui
    from mental_averages.nodes.steering import DirectionFromPictures

    layers = layers_of(comfyui.layer_names(demo.model), way.where)
    with torch.inference_mode():
        sets = [{"samples": demo.vae.encode(pictures)} for pictures in pictures_of(target, folder, count)]
        direction, *_ = DirectionFromPictures.execute(
            demo.model, pack.encode_prompt(demo.clip, ""), *sets, ", ".join(layers), way.percent, draws, "difference",
            0, resume=False, weighting=way.weighting).args
    return direction


def steered(demo: DemoModel, prompt: str, direction: Direction, way: Way, count: int) -> Tensor:
    """Finished latents (count, C, H, W) of a prompt, from the same noise whatever the way."""
    from mental_averages.nodes import comfyui

    model = comfyui.steered_model(demo.model, direction, list(direction.layers), way.strength, way.start, way.end,
                                  way.conditional)
    return on_model(model, demo.encode([prompt]), pack.encode_prompt(demo.clip, ""), GUIDANCE, demo.shape,
                    lambda denoiser, sigmas: plain_samples(denoiser, sigmas, demo.shape, count, SEED),
                    steps=STEPS, scheduler=SCHEDULER, layer=None, gradients=False)
