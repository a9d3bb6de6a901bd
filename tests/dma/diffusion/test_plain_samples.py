import pytest
import torch
from families import FAMILY, LEVELS, SHAPE

from mental_averages.dma.diffusion import (
    NoiseRows,
    Parametrization,
    SamplesState,
    draw_samples,
    initial_latent,
    sample,
    start_scale,
    starting_noise,
)
from mental_averages.dma.execution import BatchSize


@pytest.mark.parametrize("batch", [BatchSize(2), BatchSize(5), None])
def test_samples_are_those_of_a_plain_sampler(batch):
    found = draw_samples(FAMILY, LEVELS, SHAPE, 5, 3, batch=batch)
    start = initial_latent(FAMILY.parametrization, starting_noise(5, SHAPE, 3), LEVELS[0].item())
    torch.testing.assert_close(found, sample(FAMILY, start, LEVELS))


class Own:
    """Begins at another scale than its noise law says, as a schedule below the highest level does."""

    def __init__(self, parametrization, own):
        self.parametrization = parametrization
        if own:
            self.start_scale = lambda sigma: 1.7 * sigma


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("parametrization", Parametrization)
def test_the_start_is_to_the_last_bit_that_of_the_streamed_noise(parametrization, own):
    """An alignment streams the rows that a drawing begins with; both are start_scale times the noise of the seed."""
    denoiser = Own(parametrization, own)
    found = SamplesState.from_noise(denoiser, 0.9, 40, SHAPE, 11).latents
    scale = start_scale(denoiser, 0.9)
    assert torch.equal(found, scale * starting_noise(40, SHAPE, 11))
    rows = NoiseRows(40, SHAPE, 11, scale)
    assert torch.equal(found, torch.cat([rows[0:7], rows[7:40]]))


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
