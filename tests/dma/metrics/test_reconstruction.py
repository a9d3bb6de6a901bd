import math

import pytest
import torch
from peak_memory import largest_made_by
from single_precision_device import DEVICE, pretended

from mental_averages.dma.metrics import latent_error, picture_psnr


def test_psnr_of_known_errors():
    expected = torch.full((3, 4, 4, 3), 0.5)
    found = expected + torch.tensor([0.1, 0.0, 0.01])[:, None, None, None]
    assert picture_psnr(found, expected).tolist() == pytest.approx([20, 100, 40], abs=1e-3)


def test_pictures_are_cut_to_their_range_first():
    assert picture_psnr(torch.full((1, 2, 2, 3), 1.4), torch.ones(1, 2, 2, 3)).item() == pytest.approx(100)


def test_pictures_may_lie_on_two_devices():
    found, expected = torch.rand(2, 3, 4, 4, 3, generator=torch.Generator().manual_seed(0))
    with pretended():
        one, other = found.to(DEVICE), expected.to(DEVICE)
        for pair in ((one, expected), (found, other), (one, other)):
            assert torch.equal(picture_psnr(*pair), picture_psnr(found, expected))


@pytest.mark.parametrize("pictures", [torch.full((1, 2, 2, 3), 200.0), torch.full((1, 2, 2, 3), 1, dtype=torch.uint8),
                                      torch.full((1, 2, 2, 3), -1.0)])
def test_pictures_of_another_range_are_refused(pictures):
    """Cut at 0 and 1, a picture in 0 ... 255 would be white, and as good as any other."""
    for pair in ((pictures, torch.ones(1, 2, 2, 3)), (torch.ones(1, 2, 2, 3), pictures)):
        with pytest.raises(ValueError, match="from 0 to 1 as floating-point numbers, but these go from"):
            picture_psnr(*pair)


def test_latents_whose_squares_overflow_or_vanish_have_an_error():
    found, expected = torch.tensor([[0.0, 3.0]]), torch.tensor([[0.0, 2.0]])
    for size in (1e25, 1e-25):
        assert latent_error(size * found, size * expected).item() == pytest.approx(0.5)


def test_latent_errors_are_relative_and_one_by_one():
    expected = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    assert latent_error(1.25 * expected, expected).tolist() == pytest.approx([0.25, 0.25])
    assert latent_error(expected, expected).tolist() == [0, 0]


@pytest.mark.parametrize("measure", [picture_psnr, latent_error])
@pytest.mark.parametrize("found, expected, complaint", [
    (torch.ones(2, 4, 4, 3), torch.ones(3, 4, 4, 3), "as many"),
    (torch.ones(2, 4, 4, 3), torch.ones(2, 4, 8, 3), "size"),
    (torch.ones(0, 4, 4, 3), torch.ones(0, 4, 4, 3), "as many"),
    (torch.full((1, 2, 2, 3), math.nan), torch.ones(1, 2, 2, 3), "NaN")])
def test_what_is_no_round_trip_is_refused(measure, found, expected, complaint):
    with pytest.raises(ValueError, match=complaint):
        measure(found, expected)


def test_latents_of_zeros_have_no_relative_error():
    with pytest.raises(ValueError, match="0 everywhere"):
        latent_error(torch.ones(1, 4), torch.zeros(1, 4))


def test_many_large_pictures_are_compared_some_at_a_time():
    pictures = torch.rand(24, 512, 512, 3)  # 72 MiB
    assert largest_made_by(lambda: picture_psnr(pictures, pictures)) < 24 * 2**20
