import pytest
import torch
from noise_latents import biased

from mental_averages.dma import interpolation


def test_offsets_move_two_channels_of_the_top_quarter():
    latents = biased(2)
    before = latents.clone()
    moved = interpolation.offset_channels(latents, 0.4)
    difference = (moved - latents).double()
    assert torch.equal(latents, before) and moved.dtype == torch.float32
    torch.testing.assert_close(difference[:, 0, :4], torch.full((2, 4, 16), -0.4).double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(difference[:, 1, :4], torch.full((2, 4, 16), 0.4).double(), rtol=0, atol=1e-6)
    assert not difference[:, :, 4:].any() and not difference[:, 2:].any() and abs(difference.mean()) < 1e-7
    assert torch.equal(interpolation.offset_channels(latents, 0.0), latents)
    assert (interpolation.offset_channels(latents, 1.0, lowered=2, raised=3, share=0.0)
            != latents).any(dim=3).any(dim=1)[0].tolist() == [True] + [False] * 15
    for lowered, raised in ((0, 4), (-1, 0), (1, 1)):
        with pytest.raises(ValueError, match="channels 0 to 3"):
            interpolation.offset_channels(latents, 0.1, lowered=lowered, raised=raised)
