import pytest
import torch
from hypothesis import given, settings, strategies as st

from mental_averages.dma.statistics import effective_count, effective_count_of_sums


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(0, 1000), st.floats(1e-6, 1e6))
def test_between_one_and_all_whatever_the_scale(count, seed, scale):
    weights = torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = effective_count(weights).item()
    assert 1 - 1e-9 <= found <= count + 1e-9
    assert effective_count(scale * weights).item() == pytest.approx(found)
    assert effective_count_of_sums(weights.sum().item(), weights.square().sum().item()) == pytest.approx(found)


def test_equal_weights_count_all_and_a_single_one_counts_one():
    assert effective_count(torch.full((7,), 0.3, dtype=torch.float64)).item() == pytest.approx(7)
    assert effective_count(torch.tensor([0.0, 2.0, 0.0])).item() == 1
    assert effective_count(torch.zeros(3)).isnan()


def test_the_mean_of_so_many_equal_rows_varies_alike():
    """Var(sum w x / sum w) = var sum w^2 / (sum w)^2."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.tensor([1.0, 2.0, 3.0, 0.0], dtype=torch.float64)
    means = torch.randn(40000, 4, generator=generator, dtype=torch.float64) @ weights / weights.sum()
    assert means.var().item() == pytest.approx(1 / effective_count(weights).item(), rel=0.03)


def test_along_a_dimension_or_of_all():
    weights = torch.tensor([[1.0, 1.0, 0.0], [0.0, 5.0, 0.0]])
    assert effective_count(weights, dim=1).tolist() == [2, 1]
    assert effective_count(weights, dim=0).tolist() == pytest.approx([1, 36 / 26, float("nan")], nan_ok=True)
    assert effective_count(weights).item() == pytest.approx(49 / 27)
