"""Latents that nothing can be done with."""
import pytest
import torch

from mental_averages.dma.diffusion import check_latents


def test_latents_of_pictures_pass():
    check_latents(torch.randn(1, 4, 8, 8))


@pytest.mark.parametrize("latents, message", [
    (torch.zeros(1, 16, 3, 8, 8), "four dimensions"), (torch.zeros(4, 8, 8), r"\(4, 8, 8\)"),
    (torch.zeros(0, 4, 8, 8), "batch is empty"), (torch.full((1, 4, 2, 2), torch.nan), "NaN or infinity"),
    (torch.full((1, 4, 2, 2), -torch.inf), "NaN or infinity"),
])
def test_others_are_refused_with_what_is_wrong(latents, message):
    with pytest.raises(ValueError, match=message):
        check_latents(latents)
