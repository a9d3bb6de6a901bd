"""Counting and timing the passes of an alignment, for alignment_speed.py."""
from __future__ import annotations

import contextlib
import sys
from collections import Counter

import numpy as np
from support import timed, with_gradient

from mental_averages.dma import models
from mental_averages.dma.diffusion import starting_noise

BATCH = 32


@contextlib.contextmanager
def whole_forwards():
    """Let every forward pass run to its end, as a plain hook on the layer would."""
    def output_of(layer, forward):
        found = []
        hook = layer.register_forward_hook(lambda module, inputs, output: found.append(
            output[0] if isinstance(output, tuple) else output))
        try:
            forward()
        finally:
            hook.remove()
        return found[0] if found else None

    truncated = models.output_of
    users = [module for name, module in sys.modules.items() if name.startswith("mental_averages.")
             and hasattr(module, "output_of")]
    for module in users:
        module.output_of = output_of
    try:
        yield
    finally:
        for module in users:
            module.output_of = truncated


class Counted:
    """A Denoiser that counts rows: features, gradients through them, and guided predictions.

    Those that it gives at another guidance scale count with it.
    """

    def __init__(self, denoiser, rows: Counter | None = None):
        self.inner, self.parametrization, self.device = denoiser, denoiser.parametrization, denoiser.device
        self.rows = Counter() if rows is None else rows

    def with_guidance(self, scale: float) -> Counted:
        return Counted(self.inner.with_guidance(scale), self.rows)

    def features(self, x, sigma):
        found = self.inner.features(x, sigma)
        self.rows["features"] += len(x)
        if found.requires_grad:
            found.register_hook(self._count)
        return found

    def _count(self, gradient):
        self.rows["gradients"] += len(gradient)

    def denoise(self, x, sigma):
        self.rows["predictions"] += len(x)
        return self.inner.denoise(x, sigma)

    def equivalents(self, costs) -> float:
        return (self.rows["features"] + costs["backward"] * self.rows["gradients"]
                + 2 * costs["whole"] * self.rows["predictions"])


def measure_costs(denoiser, shape: tuple[int, ...], sigma: float, repeats: int, batch: int = BATCH) -> dict[str, float]:
    """Seconds of one row's truncated forward; its backward and a whole forward in units of that. In turns, medians."""
    x = starting_noise(batch, shape, 0).to(denoiser.device) * sigma
    seconds = {"forward": [], "both": [], "prediction": []}

    def both():
        return with_gradient(lambda latents: denoiser.features(latents, sigma), x)

    for _ in range(repeats + 1):
        for name, function in (("forward", lambda: denoiser.features(x, sigma)), ("both", both),
                               ("prediction", lambda: denoiser.denoise(x, sigma))):
            seconds[name].append(timed(function)[0] / batch)
    forward, both_ways, prediction = (float(np.median(seconds[name][1:])) for name in seconds)
    return {"forward_seconds": forward, "backward": both_ways / forward - 1, "whole": prediction / 2 / forward}
