import pytest
import torch
from toys import LinearGaussian, sigmas

from mental_averages.dma.mean_shift import MeanShiftSettings, Start, averaged_guidance, mean_shift, noise_for

SHAPE, LEVELS = (2, 3, 3), sigmas(8)


@pytest.mark.parametrize("change, message", [
    (dict(count=0), "count is 0"), (dict(averaged_steps=0), "averaged_steps is 0"),
    (dict(averaged_steps=9), "only 8 steps"), (dict(mean_error=float("nan")), "mean_error is nan"),
    (dict(restored_noise=1.5), "restored_noise is 1.5"), (dict(keep=2), "keep is 2"),
    (dict(keep=2, restored_noise=1.0, averaged_steps=8), "keep is 2"), (dict(keep=0), "keep is 0")])
def test_settings_that_make_no_sense_are_refused_before_any_work(change, message):
    denoiser = LinearGaussian()
    denoiser.denoise = None
    with pytest.raises(ValueError, match=message):
        mean_shift(denoiser, LEVELS, SHAPE, MeanShiftSettings(**change))
    with pytest.raises(ValueError, match="from step 6 on"):
        mean_shift(denoiser, LEVELS, SHAPE, MeanShiftSettings(), start=Start(torch.zeros(1, *SHAPE), 6))
    with pytest.raises(ValueError, match="The start has the shape"):
        mean_shift(denoiser, LEVELS, SHAPE, MeanShiftSettings(), start=Start(torch.zeros(1, 2, 4, 4), 2))


@pytest.mark.parametrize("guidance, noise", [(0.0, 1.0), (1.0, 1.0), (3.0, 1.0), (5.0, 0.75), (7.0, 0.5), (30.0, 0.5)])
def test_low_guidance_gets_noise_back_and_high_guidance_none(guidance, noise):
    assert noise_for(guidance) == noise


def test_averaged_levels_take_a_share_of_what_guidance_adds():
    assert averaged_guidance(7.0, 0.5) == 4
    assert averaged_guidance(1.0, 0.3) == 1
    assert averaged_guidance(5.0, 0.0) == 1 and averaged_guidance(5.0, 1.0) == 5
