"""Seeded noise in parts, and latents between clean and noise."""
import math

import pytest
import torch

from mental_averages.dma import diffusion
from mental_averages.dma.diffusion import NoisePairs, NoiseRows, Parametrization, starting_noise

EPS, V, FLOW = Parametrization.EPS, Parametrization.V, Parametrization.FLOW
SHAPE = (2, 3, 3)


@pytest.mark.parametrize("count, shape", [(1, (1, 1, 1)), (17, (1, 1, 3)), (40, (4, 8, 8)), (95, (3, 5, 7))])
@pytest.mark.parametrize("size", [1, 5, 16, 100])
def test_noise_in_parts_is_noise_at_once(count, shape, size):
    rows = NoiseRows(count, shape, 11)
    parts = [rows[start : min(start + size, count)] for start in range(0, count, size)]
    assert torch.equal(torch.cat(parts), starting_noise(count, shape, 11))


def test_noise_rows_can_be_asked_for_again_after_running_out_of_memory():
    rows, reference = NoiseRows(50, SHAPE, 1), starting_noise(50, SHAPE, 1)
    for wanted in (slice(0, 20), slice(0, 10), slice(10, 40), slice(10, 25), slice(25, 50)):
        assert torch.equal(rows[wanted], reference[wanted])


@pytest.mark.parametrize("parametrization", [EPS, V, FLOW])
def test_initial_latent_has_unit_variance_in_paper_units(parametrization):
    sigma = 1.0 if parametrization is FLOW else 14.6
    noise = torch.randn(4, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    z = diffusion.initial_latent(parametrization, noise, sigma) * diffusion.paper_scale(parametrization, sigma)
    torch.testing.assert_close(z, noise)
    assert diffusion.shell_norm(z) == math.sqrt(4 * 32 * 32)


@pytest.mark.parametrize("parametrization", [EPS, V, FLOW])
def test_what_was_added_is_found_again(parametrization):
    clean, noise = torch.randn(2, 5, 4, 4, dtype=torch.float64)
    x = diffusion.add_noise(parametrization, clean, noise, 0.6)
    torch.testing.assert_close(diffusion.noise_in(parametrization, x, clean, 0.6), noise)
    start = diffusion.initial_latent(parametrization, noise, 0.9)
    torch.testing.assert_close(diffusion.noise_of(parametrization, start, 0.9), noise)


def test_noise_is_that_of_the_seed():
    expected = torch.randn((3, *SHAPE), generator=torch.Generator("cpu").manual_seed(5))
    assert torch.equal(starting_noise(3, SHAPE, 5), expected)


@pytest.mark.parametrize("first", [1, 16, 23, 40, 94])
def test_noise_rows_can_begin_anywhere(first):
    """A run that goes on in the middle asks for no row before."""
    rows = NoiseRows(95, (3, 5, 7), 11)
    assert torch.equal(rows[first:95], starting_noise(95, (3, 5, 7), 11)[first:])


@pytest.mark.parametrize("parametrization", [EPS, V, FLOW])
def test_noise_starts_as_the_denoiser_says_or_as_pure_noise(parametrization):
    class Plain:
        def __init__(self):
            self.parametrization = parametrization

    class Own(Plain):
        def start_scale(self, sigma):
            return 3 * sigma

    noise = starting_noise(2, SHAPE, 0)
    expected = diffusion.initial_latent(parametrization, noise, 0.9)
    assert torch.equal(diffusion.start_scale(Plain(), 0.9) * noise, expected)
    assert diffusion.start_scale(Own(), 2.0) == 6
    scaled = NoiseRows(2, SHAPE, 0, 3.0)
    assert torch.equal(scaled[0:2], 3 * noise)


@pytest.mark.parametrize("count", [1, 2, 7, 64, 95])
@pytest.mark.parametrize("size", [1, 2, 5, 16])
def test_pairs_are_noise_and_its_negative_however_they_are_asked_for(count, size):
    pairs = NoisePairs(count, SHAPE, 3)
    rows = torch.cat([pairs[first : min(first + size, count)] for first in range(0, count, size)])
    halves = starting_noise((count + 1) // 2, SHAPE, 3)
    assert torch.equal(rows[0::2], halves) and torch.equal(rows[1::2], -halves[: count // 2])


def test_pairs_may_begin_anywhere():
    assert torch.equal(NoisePairs(40, SHAPE, 3)[17:40], NoisePairs(40, SHAPE, 3)[0:40][17:])


@pytest.mark.parametrize("shape", [(4, 8, 8), (3, 5, 7), (1, 1, 1), (16, 64, 64)])
def test_noise_of_a_range_is_drawn_without_what_lies_before(shape, monkeypatch):
    """Numbers before the range are passed over in pieces of fixed size, however many there are."""
    count = 60 if shape[-1] == 64 else 500
    expected = starting_noise(count, shape, 3)
    drawn = []
    monkeypatch.setattr(torch, "randn", lambda size, _randn=torch.randn, **kinds: drawn.append(math.prod(size))
                        or _randn(size, **kinds))
    for first in (0, 1, 17, count - 40, count - 1):
        drawn.clear()
        assert torch.equal(NoiseRows(count, shape, 3)[first:count], expected[first:])
        assert sum(drawn) <= (count - first + 32) * math.prod(shape)


def test_noise_rows_that_fall_begin_anew():
    rows, reference = NoiseRows(95, SHAPE, 1), starting_noise(95, SHAPE, 1)
    for wanted in (slice(60, 70), slice(3, 20), slice(90, 95), slice(0, 5)):
        assert torch.equal(rows[wanted], reference[wanted])
