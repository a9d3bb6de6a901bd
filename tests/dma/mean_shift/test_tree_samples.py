import pytest
import torch
from families import FAMILY, LEVELS, SHAPE

from mental_averages.dma.diffusion import initial_latent, sample, starting_noise
from mental_averages.dma.execution import BatchSize
from mental_averages.dma.mean_shift import SamplesState, draw_samples


def test_samples_are_those_of_a_plain_sampler():
    found = draw_samples(FAMILY, LEVELS, SHAPE, 5, 3, batch=BatchSize(2))
    start = initial_latent(FAMILY.parametrization, starting_noise(5, SHAPE, 3), LEVELS[0].item())
    torch.testing.assert_close(found, sample(FAMILY, start, LEVELS))


def test_an_interrupted_drawing_goes_on():
    whole, saved = draw_samples(FAMILY, LEVELS, SHAPE, 5, 3), []

    def interrupt(event, state):
        if event.changed:
            saved.append(state.packed())
            if state.step == 7:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw_samples(FAMILY, LEVELS, SHAPE, 5, 3, watchers=[interrupt])
    assert torch.equal(draw_samples(FAMILY, LEVELS, SHAPE, 5, 3, state=SamplesState.unpacked(*saved[-1])), whole)
