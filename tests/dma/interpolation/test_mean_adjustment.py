import math

import pytest
import torch
from hypothesis import given, strategies as st
from noise_latents import SHAPE, mix, noise, separate, thorough

from mental_averages.dma import interpolation
from mental_averages.dma.interpolation import MEAN_ADJUSTMENTS


@pytest.mark.parametrize("shape", [(4, 8, 8), (16, 5, 12), (3, 1, 7), (2, 1, 1)])
def test_low_pass_of_infinite_width_is_the_channel_mean(shape):
    latents = noise(3, shape=shape)
    for wide in (math.inf, 1e6):
        for part, expected in zip(separate(latents.double(), ("low_pass", wide)),
                                  separate(latents.double(), ("channel", math.inf))):
            torch.testing.assert_close(part, expected, rtol=0, atol=1e-12)
        assert interpolation.nominal_norm(shape, "low_pass", low_pass_width=wide) == pytest.approx(
            math.sqrt(math.prod(shape)) * (shape[1:] != (1, 1) or math.isinf(wide)))
    if shape[1:] != (1, 1):
        assert torch.equal(mix(latents, None, "fix", ("low_pass", math.inf)), mix(latents, None, "fix"))


@thorough
@given(width=st.floats(0.05, 50), height=st.integers(1, 9), breadth=st.integers(2, 9))
def test_low_pass_keeps_constants_and_channel_means(width, height, breadth):
    constant = torch.tensor([3.0, -1.0])[None, :, None, None].expand(1, 2, height, breadth).double()
    kept, left = separate(constant, ("low_pass", width))
    torch.testing.assert_close(kept, constant)
    assert not left.any()
    _, left = separate(noise(2, shape=(3, height, breadth)).double(), ("low_pass", width))
    assert left.mean(dim=(2, 3)).abs().max() < 1e-12


def test_low_pass_is_a_gaussian_in_the_middle_and_leaves_the_stated_share_of_noise():
    impulse = torch.zeros(1, 1, 33, 33, dtype=torch.float64)
    impulse[0, 0, 16, 16] = 1
    kept, _ = separate(impulse, ("low_pass", 2.0))
    places = torch.arange(33) - 16.0
    gaussian = torch.exp(-(places[:, None] ** 2 + places**2) / 8) / (8 * math.pi)
    torch.testing.assert_close(kept[0, 0], gaussian.double(), rtol=0, atol=1e-6)
    _, left = separate(noise(3000, bias=0).double(), ("low_pass", 1.0))
    channel_mean_left = separate(noise(3000, bias=0).double(), ("channel", math.inf))[1]
    share = left.square().sum() / channel_mean_left.square().sum()
    assert (interpolation.nominal_norm(SHAPE, "low_pass", low_pass_width=1.0)
            == pytest.approx(16 * share.sqrt().item(), rel=2e-3))
    assert interpolation.nominal_norm(SHAPE, "low_pass", low_pass_width=1e-3) < 1e-3


def test_every_adjustment_keeps_what_its_name_says():
    latents = noise(3).double()
    for adjustment in MEAN_ADJUSTMENTS:
        kept, left = separate(latents, (adjustment, 2.0))
        torch.testing.assert_close(kept + left, latents)
    assert not separate(latents, ("none", math.inf))[0].any()
    expected = latents.mean(dim=(1, 2, 3), keepdim=True).expand_as(latents)
    assert torch.equal(separate(latents, ("global", math.inf))[0], expected)
    expected = latents.mean(dim=(2, 3), keepdim=True).expand_as(latents)
    assert torch.equal(separate(latents, ("channel", math.inf))[0], expected)


def test_noise_that_is_rounding_error_is_none():
    latents = 1.0 + 1e-15 * torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert not separate(latents, ("channel", math.inf))[1].any()


def test_unknown_adjustments_and_impossible_widths():
    with pytest.raises(ValueError, match="no mean adjustment 'median': choose one of none, global, channel, low_pass"):
        separate(noise(1), ("median", math.inf))
    for width in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="must be above 0"):
            separate(noise(1), ("low_pass", width))
        with pytest.raises(ValueError, match="must be above 0"):
            interpolation.nominal_norm(SHAPE, "low_pass", low_pass_width=width)
