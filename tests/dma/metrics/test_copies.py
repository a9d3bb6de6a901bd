"""Pictures that are the same."""
import pytest
import torch

from mental_averages.dma.metrics import COPY, nearest_distances, same_pixels


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_distance_is_the_root_mean_square_difference():
    one, other = noise(2, 32, 32, 3)
    found = same_pixels(torch.stack([one, other]))
    assert (found[0] - found[1]).norm() == pytest.approx((one - other).square().mean().sqrt().item(), rel=1e-5)


def test_larger_pictures_are_averaged():
    small = noise(1, 32, 32, 3)
    large = small.repeat_interleave(3, 1).repeat_interleave(2, 2)
    torch.testing.assert_close(same_pixels(large), same_pixels(small))


def test_a_fourth_channel_is_left_out():
    pictures = noise(2, 40, 32, 4)
    torch.testing.assert_close(same_pixels(pictures), same_pixels(pictures[..., :3]))


def test_equal_pictures_are_found_exactly():
    rows = 100 + noise(30, 3072)
    rows[17] = rows[4]
    found = nearest_distances(rows)
    assert found[17] == found[4] == 0 and (found[[0, 1, 2, 3]] > 1).all()


def test_pictures_that_differ_by_little_are_copies():
    picture = 0.1 + 0.8 * noise(1, 32, 32, 3)
    for change, is_copy in ((0.5 * COPY, True), (2 * COPY, False)):
        found = nearest_distances(same_pixels(torch.cat([picture, picture + change])))
        assert ((found <= COPY) == is_copy).all()


@pytest.mark.parametrize("shape", [(32, 32, 3), (1, 32, 32, 1), (0, 32, 32, 3)])
def test_what_are_no_pictures(shape):
    with pytest.raises(ValueError, match="Pictures have the shape"):
        same_pixels(torch.zeros(shape))


def test_nan_is_no_copy_and_no_distance():
    broken = torch.full((2, 32, 32, 3), torch.nan)
    with pytest.raises(ValueError, match="2 of 2 pictures contain NaN"):
        same_pixels(broken)
    with pytest.raises(ValueError, match="features must be finite"):
        nearest_distances(broken.flatten(1))
