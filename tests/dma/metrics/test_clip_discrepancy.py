import math

import pytest
import torch
from wavy_features import wavy

from mental_averages.dma.metrics import clip_discrepancy


# What clip-mmd 0.0.2 (calculation.mmd) gave for the same features of unit length, by
# benchmarks/metrics/metric_parity.py.
@pytest.mark.parametrize("count, others, width, expected", [
    (40, 30, 6, 1.9667510044021341), (12, 20, 48, 2.3052418258329155)])
def test_clip_mmd_gives_the_same(count, others, width, expected):
    found = clip_discrepancy(wavy(count, width, 0.0), wavy(others, width, 0.4))
    assert found.value == pytest.approx(expected, rel=1e-9) and found.low < found.value < found.high


def test_two_points_have_a_closed_form():
    first, second = torch.tensor([[1.0, 0.0]]).expand(3, 2), torch.tensor([[0.0, 5.0]]).expand(4, 2)
    expected = 2000 * (1 - math.exp(-2 / 200))
    for unbiased in (False, True):
        found = clip_discrepancy(first, second, unbiased=unbiased)
        assert found == pytest.approx((expected, expected, expected), rel=1e-9)


def test_a_set_is_at_0_of_itself_and_the_bias_is_that_of_equal_pairs():
    rows = wavy(10, 4, 0.0)
    assert clip_discrepancy(rows, rows).value == pytest.approx(0, abs=1e-12)
    other = wavy(8, 4, 0.4)
    unit = [each / each.norm(dim=1, keepdim=True) for each in (rows, other)]
    kernels = [torch.exp((each @ each.T - 1) / 100) for each in unit]
    bias = sum(1000 / len(kernel) * (1 - ((kernel.sum() - len(kernel)) / (len(kernel) * (len(kernel) - 1))))
               for kernel in kernels)
    difference = clip_discrepancy(rows, other).value - clip_discrepancy(rows, other, unbiased=True).value
    assert difference == pytest.approx(bias.item(), rel=1e-6)


@pytest.mark.parametrize("first, second, complaint", [
    (torch.ones(1, 3), torch.ones(4, 3), "at least two rows, not 1 and 4"),
    (torch.ones(4, 3), torch.ones(4, 2), "not 3 and 2"), (torch.ones(4, 3), torch.zeros(4, 3), "others are 0"),
    (torch.full((4, 3), math.nan), torch.ones(4, 3), "features must be finite")])
def test_sets_that_have_no_distance_are_refused(first, second, complaint):
    with pytest.raises(ValueError, match=complaint):
        clip_discrepancy(first, second)
