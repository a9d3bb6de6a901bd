import pytest
import torch
from toys import LinearGaussian, sigmas

from mental_averages.dma.mean_shift import TreeSettings, mode_tree

SHAPE, LEVELS = (1, 2, 2), sigmas(20)


@pytest.mark.parametrize("change, samples, message", [
    (dict(), 1, "at least two samples"), (dict(steps=()), 3, "one or more"), (dict(steps=(2, 2)), 3, "all different"),
    (dict(steps=(20,)), 3, "between 0 and 19"), (dict(steps=(-1,)), 3, "between 0 and 19"),
    (dict(count=1), 3, "count is 1"), (dict(iterations=2), 3, "iterations is 2")])
def test_bad_settings_are_refused_before_any_work(change, samples, message):
    denoiser = LinearGaussian(SHAPE)
    denoiser.denoise = None
    with pytest.raises(ValueError, match=message):
        mode_tree(denoiser, torch.zeros(samples, *SHAPE), LEVELS, TreeSettings(**{"steps": (3,), **change}))
