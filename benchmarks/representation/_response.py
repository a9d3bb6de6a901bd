"""How far samples of pictures' own prompts move when their features are steered, for memorisation.py."""
from __future__ import annotations

import numpy as np
import torch
from support import GUIDANCE, SCHEDULER, STEPS, DemoModel, FeatureSpace, as_pictures, on_model, plain_samples
from torch import Tensor

import dataset
import pack
from mental_averages.dma.representation import Reading, means_of_layers
from mental_averages.dma.steering import Direction, direction_from

SEED = 4242
PERCENT, DRAWS = 0.6, 4  # of the reading
TOGETHER = 32  # prompts in one batch, as many as plain samples are drawn together


def style_direction(demo: DemoModel, pictures: list[dataset.Picture], images: np.ndarray, style: str,
                    count: int) -> Direction:
    """The direction from training pictures of other drawing styles to those of `style`, so many of each, in the middle
    and the first half of the decoder, under an empty prompt. None of them is among those that are judged."""
    from mental_averages.nodes import comfyui, inputs

    layers = inputs.source_of_directions(comfyui.layer_names(demo.model))
    sigma = float(demo.model.get_model_object("model_sampling").percent_to_sigma(PERCENT))
    generator, sets = np.random.default_rng(0), []
    for of_style in (True, False):
        rows = [row for row, picture in enumerate(pictures)
                if not picture.held_out and (picture.style == style) == of_style]
        chosen = generator.choice(rows, min(count, len(rows)), replace=False)
        sets.append(demo.latents_of(as_pictures(images[np.sort(chosen)])))

    def read(denoiser, _) -> list:
        return [means_of_layers(denoiser, latents, [sigma], layers, Reading(DRAWS, 0, "mean")) for latents in sets]

    positive, negative = demo.with_denoiser("", 1.0, read, layer=layers[-1], gradients=False)
    return direction_from({layer: (positive[layer].rows(), negative[layer].rows()) for layer in layers})


def drawn(demo: DemoModel, judge: FeatureSpace, prompts: list[str], direction: Direction, strength: float) -> Tensor:
    """The judge's features (N, D) of one sample of each prompt, from the same noise whatever the strength."""
    from mental_averages.nodes import comfyui

    model = comfyui.steered_model(demo.model, direction, list(direction.layers), strength, 0.0, 1.0, False)
    found = []
    for first in range(0, len(prompts), TOGETHER):
        chosen = prompts[first : first + TOGETHER]

        def draw(denoiser, sigmas, first: int = first, count: int = len(chosen)) -> Tensor:
            return plain_samples(denoiser, sigmas, demo.shape, count, SEED + first)

        latents = on_model(model, demo.encode(chosen), pack.encode_prompt(demo.clip, ""), GUIDANCE, demo.shape, draw,
                           steps=STEPS, scheduler=SCHEDULER, layer=None, gradients=False, latents=len(chosen))
        found.append(judge(demo.decode(latents)))
    return torch.cat(found)


def responses(demo: DemoModel, judge: FeatureSpace, prompts: list[str], direction: Direction,
              strengths: list[float]) -> dict[float, Tensor]:
    """By strength, how far each sample is from that of strength 0 (N,): 1 - cosine of the judge's features."""
    plain = drawn(demo, judge, prompts, direction, 0.0)
    return {strength: 1 - (drawn(demo, judge, prompts, direction, strength) * plain).sum(1) for strength in strengths}
