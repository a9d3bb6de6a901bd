"""Pooling against PyTorch's own where sides divide, and against what makes cells a partition where they do not."""
import pytest
import torch

from mental_averages.dma.models import POOLINGS, pooled


def maps(height, width, dtype=torch.float64):
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0), dtype=dtype)


def test_the_names_of_the_first_release_come_first():
    assert POOLINGS == ("none", "mean", "2x2", "4x4", "8x8", "16x16")


@pytest.mark.parametrize("pooling, cells", [("2x2", 2), ("4x4", 4), ("8x8", 8)])
def test_cells_are_means_where_sides_divide(pooling, cells):
    found = pooled(maps(8, 16), pooling)
    torch.testing.assert_close(found, torch.nn.functional.adaptive_avg_pool2d(maps(8, 16), cells))


@pytest.mark.parametrize("height, width", [(8, 8), (5, 7), (3, 9), (6, 2)])
@pytest.mark.parametrize("pooling", ["2x2", "4x4"])
def test_the_mean_of_all_cells_is_that_of_the_map(height, width, pooling):
    features = maps(height, width)
    torch.testing.assert_close(pooled(features, pooling).mean((2, 3)), pooled(features, "mean"))


def test_an_edge_within_a_pixel_shares_it_out():
    """Three pixels in two cells of one and a half: the middle one counts half in each."""
    found = pooled(torch.tensor([1.0, 4.0, 10.0]).view(1, 1, 1, 3), "2x2")
    torch.testing.assert_close(found.flatten(), torch.tensor([(1 + 2) / 1.5, (2 + 10) / 1.5]))


def test_a_side_with_fewer_pixels_than_cells_stays():
    torch.testing.assert_close(pooled(maps(4, 4), "16x16"), maps(4, 4), rtol=0, atol=0)
    assert pooled(maps(2, 8), "4x4").shape == (2, 3, 2, 4)


def test_what_is_no_map_stays():
    rows = torch.randn(4, 6)
    assert all(pooled(rows, pooling) is rows for pooling in POOLINGS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_mean_and_the_whole_map_are_what_they_were(dtype):
    features = maps(5, 7, dtype)
    assert torch.equal(pooled(features, "mean"), features.mean(dim=(2, 3))) and pooled(features, "none") is features
    assert pooled(features, "2x2").dtype == dtype


def test_pooling_can_be_differentiated_twice():
    features = maps(5, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda values: pooled(values, "2x2"), features)
    assert torch.autograd.gradgradcheck(lambda values: pooled(values, "2x2").square(), features)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="There is no pooling '3x3': choose one of none, mean, 2x2"):
        pooled(maps(4, 4), "3x3")
