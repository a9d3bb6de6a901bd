"""Pushed predictions: the equations, what they do to Gaussian data, and what is refused."""
import math

import pytest
import torch
from toys import LinearGaussian

from mental_averages.dma import steering
from mental_averages.dma.diffusion import sample

FIRST, LAST, VARIANCE = 8.0, 1.5, 0.25
# Steps so short that the error of Euler's method is far below the tolerances.
PUSHED, PLAIN = torch.logspace(math.log2(FIRST), math.log2(LAST), 1501, base=2.0, dtype=torch.float64), torch.cat([
    torch.logspace(math.log2(LAST), -9, 1501, base=2.0, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)])


class Pushed:
    """A denoiser whose predictions are pushed."""

    def __init__(self, denoiser, push):
        self.denoiser, self.push = denoiser, push
        self.device, self.parametrization = denoiser.device, denoiser.parametrization

    def denoise(self, x, sigma):
        return self.push(self.denoiser.denoise(x, sigma))


def ends(push):
    """Samples (K, C, H, W) of Gaussian data with and without a push from the level FIRST down to LAST, and the data's
    mean."""
    gaussian = LinearGaussian(variance=VARIANCE, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    start = gaussian.mean + FIRST * torch.randn(5, 2, 3, 3, generator=generator, dtype=torch.float64)
    found = [sample(gaussian, sample(denoiser, start, PUSHED), PLAIN)
             for denoiser in (Pushed(gaussian, lambda clean: push(clean, gaussian.mean[None])), gaussian)]
    return *found, gaussian.mean


@pytest.mark.parametrize("strength", [-1.0, -0.5, 0.3, 1.0])
def test_spread_of_a_gaussian_has_its_closed_form(strength):
    pushed, plain, mean = ends(lambda clean, average: steering.pushed_from(clean, average, strength=strength))
    factor = ((1 + VARIANCE / LAST**2) / (1 + VARIANCE / FIRST**2)) ** (strength / 2)
    torch.testing.assert_close(pushed - mean, factor * (plain - mean), rtol=1e-3, atol=1e-4)
    assert (factor > 1) == (strength > 0)


@pytest.mark.parametrize("strength", [-0.7, 0.4])
def test_a_direction_moves_the_mean_of_a_gaussian_by_its_closed_form(strength):
    direction = torch.randn(1, 2, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    pushed, plain, _ = ends(lambda clean, average: steering.pushed_along(clean, direction, strength=strength))
    root = math.sqrt(VARIANCE)
    moved = strength * (math.asinh(root / LAST) - math.asinh(root / FIRST))
    torch.testing.assert_close(pushed, plain + moved * direction, rtol=0, atol=2e-3)


def test_strength_0_is_the_prediction_and_minus_1_the_average():
    clean, average = torch.randn(3, 4, 2, 2), torch.randn(1, 4, 2, 2)
    assert torch.equal(steering.pushed_from(clean, average, strength=0.0), clean)
    assert torch.equal(steering.pushed_along(clean, average, strength=0.0), clean)
    torch.testing.assert_close(steering.pushed_from(clean, average, strength=-1.0), average.expand(3, 4, 2, 2))


def test_the_way_between_two_averages_leads_from_the_one_to_the_other():
    first, second = torch.randn(1, 4, 2, 2), torch.randn(1, 4, 2, 2)
    direction = steering.direction_between(first, second)
    torch.testing.assert_close(steering.pushed_along(first, direction, strength=1.0), second)
    torch.testing.assert_close(steering.direction_between(second, first), -direction)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_predictions_keep_their_type(dtype):
    clean, average = torch.ones(2, 4, 2, 2, dtype=dtype), torch.zeros(1, 4, 2, 2)
    for push in (steering.pushed_from, steering.pushed_along):
        assert push(clean, average, strength=0.3).dtype == dtype


CLEAN, AVERAGE = torch.zeros(2, 4, 2, 2), torch.ones(1, 4, 2, 2)


@pytest.mark.parametrize("push", [steering.pushed_from, steering.pushed_along])
@pytest.mark.parametrize("average, strength, complaint", [
    (torch.ones(1, 4, 2, 3), 0.3, r"size \(4, 2, 3\), but the latents are \(4, 2, 2\)"),
    (torch.ones(1, 16, 2, 2), 0.3, r"size \(16, 2, 2\)"), (torch.ones(2, 4, 2, 2), 0.3, "one of them"),
    (torch.ones(4, 2, 2), 0.3, "one of them"), (torch.full((1, 4, 2, 2), math.nan), 0.3, "finite"),
    (torch.full((1, 4, 2, 2), math.inf), 0.3, "finite"), (AVERAGE, math.nan, "strength is nan"),
    (AVERAGE, math.inf, "strength is inf")])
def test_what_does_not_fit_is_refused(push, average, strength, complaint):
    with pytest.raises(ValueError, match=complaint):
        push(CLEAN, average, strength=strength)


@pytest.mark.parametrize("first, second, complaint", [
    (AVERAGE, torch.ones(1, 4, 3, 2), "second average has the size"), (AVERAGE, CLEAN, "second average one of them"),
    (CLEAN, AVERAGE, "first average one of them"), (AVERAGE, AVERAGE / 0, "second average must be finite"),
    (AVERAGE * math.nan, AVERAGE, "first average must be finite")])
def test_averages_without_a_way_between_them_are_refused(first, second, complaint):
    with pytest.raises(ValueError, match=complaint):
        steering.direction_between(first, second)
