"""What a probe of a model's layers measured: a typed record that saves to JSON, and its table."""
from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..records import Record
from ._scores import LayerMatching, aligned_separation, choose_layer, participation_ratio, spread


@dataclass(frozen=True)
class LayerScore:
    """One layer. Lists hold one number for each noise level.

    score and error: null for a layer whose features are not finite or do not vary.
    ratio: variance between prompts / variance within one; an estimate without bias, which may be negative.
    dimension: participation ratio of the variance within a prompt; null where it is too large for so few latents to
    tell. left: share of a latent's squared distance to the mean that a few iterations of matching left; empty without
    matching.
    """

    name: str
    score: float | None
    error: float | None  # standard error of the score over latents
    ratio: list[float | None]
    dimension: list[float | None]
    left: list[float | None]


@dataclass(frozen=True)
class LayerReport(Record):
    """The scores of a model's layers in running order, the layer of the highest score, and how far it is ahead of the
    next.

    settings: prompts and samples (how many), sigmas (the noise levels, one for each number in the lists of a layer),
    matched, iterations, and whatever else the measurement was made with. runner_up and margins are null where there is
    one layer.
    """

    FORMAT = "mental-averages/layer-report"
    NAME = "a report of a layer probe"

    settings: dict
    layers: list[LayerScore]
    chosen: str
    runner_up: str | None
    margin: float | None  # difference of the two scores
    margin_error: float | None  # standard error of that difference over latents
    seconds: float = 0.0

    def check(self) -> None:
        if self.chosen not in [layer.name for layer in self.layers]:
            raise ValueError(f"the chosen layer {self.chosen!r} is not among its layers")

    def verdict(self) -> str:
        """The choice in one sentence."""
        if self.runner_up is None or self.margin is None or self.margin_error is None:
            return (f"{self.chosen} is the only layer that "
                    f"{'was looked at' if len(self.layers) == 1 else 'has a score'}.")
        best = next(layer for layer in self.layers if layer.name == self.chosen)
        errors = self.margin / max(self.margin_error, 1e-12)
        doubt = ("" if errors >= 2
                 else " With other latents the choice may well be another: take more samples, or more prompts.")
        return (f"{self.chosen} has the highest score, {best.score:.3f}. It is {self.margin:.3f} ahead of "
                f"{self.runner_up}, which is {errors:.1f} standard errors.{doubt}")

    def table(self) -> str:
        """All layers as a Markdown table, the chosen one in bold type, and the choice in a sentence."""
        levels = ", ".join(f"{sigma:.3g}" for sigma in self.settings["sigmas"])
        lines = [f"Noise levels, in this order in the columns: {levels}.", "",
                 "| layer | score | separation of prompts | dimension | left after matching |",
                 "| --- | --- | --- | --- | --- |"]
        for layer in self.layers:
            name = f"**{layer.name}**" if layer.name == self.chosen else layer.name
            dimension = ["many" if value is None else f"{value:.0f}" for value in layer.dimension]
            ratio, left = (", ".join("none" if value is None else f"{value:.2f}" for value in values)
                           for values in (layer.ratio, layer.left))
            score = "none" if layer.score is None else f"{layer.score:.3f} ± {layer.error:.3f}"
            lines.append(f"| {name} | {score} | {ratio} | {', '.join(dimension)} | {left or 'not tried'} |")
        if "gradient_error" in self.settings:
            lines += ["", f"Gradient self-test: {self.settings['gradient_error']:.1e} off the measured slope."]
        return "\n".join([*lines, "", self.verdict()])


def layer_report(settings: dict, names: list[str], grams: Tensor, matching: LayerMatching | None,
                 seconds: float) -> LayerReport:
    """The report of layers `names` (L) by Gram matrices (S, L, P, N, P, N) of their features, at the levels
    settings["sigmas"] (S)."""
    count = grams.shape[-1]
    choice = choose_layer(lambda kept: aligned_separation(grams, matching, kept), count)
    ratio, dimension = spread(grams).ratio.T, participation_ratio(grams).T  # (L, S)
    left = torch.zeros(0, len(names)) if matching is None else matching.left(list(range(count)))
    columns = ([_finite(row) for row in values.tolist()] for values in (ratio, dimension, left.T))
    layers = [LayerScore(*fields) for fields in zip(names, _finite(choice.scores), _finite(choice.errors), *columns)]
    runner_up = None if choice.runner_up is None else names[choice.runner_up]
    return LayerReport(settings, layers, names[choice.best], runner_up, choice.margin, choice.margin_error, seconds)


def _finite(values: list[float]) -> list[float | None]:
    """JSON has no infinity and no NaN."""
    return [value if math.isfinite(value) else None for value in values]
