"""Unit length at any size of numbers, and the pieces that take it."""
import pytest
import torch

from mental_averages.dma.encoders import unit_embeddings
from mental_averages.dma.statistics import mean_similarity, unit_length


def normal(*shape, kind=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(kind)


def test_ordinary_rows_are_divided_by_their_length_and_zeros_stay():
    rows = torch.cat([normal(3, 4), torch.zeros(1, 4, dtype=torch.float64), 1e300 * normal(1, 4)])
    found = unit_length(rows)
    assert torch.equal(found[:3], rows[:3] / rows[:3].norm(dim=1, keepdim=True)) and not found[3].any()
    assert found[4].norm().item() == pytest.approx(1) and unit_length(rows.float()[:4]).dtype == torch.float32
    assert unit_length(torch.tensor([[1.0, torch.nan]])).isnan().all()


def test_rows_without_numbers_are_refused_in_words():
    with pytest.raises(ValueError, match=r"Rows of shape \(3, 0\) hold no numbers"):
        unit_length(torch.zeros(3, 0))
    assert unit_length(torch.zeros(0, 3)).shape == (0, 3)


@pytest.mark.parametrize("size", [1e30, 1e-30])
def test_embeddings_and_likenesses_know_the_direction_of_large_and_small_numbers(size):
    """Squares of fp32 overflow from 1e19 on, and lengths below 1e-12 were taken for that."""
    rows = normal(6, 4, kind=torch.float32)
    found = unit_embeddings(torch.ones(6, 2, 2, 3), lambda pictures: size * rows[: len(pictures)])
    torch.testing.assert_close(found, unit_length(rows))
    torch.testing.assert_close(mean_similarity(size**5 * rows.double()), mean_similarity(rows), rtol=0, atol=1e-9)
