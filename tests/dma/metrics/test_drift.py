"""Spread and drift: closed forms, what they do not see, and how often the intervals hold the truth."""
import math

import pytest
import torch

from mental_averages.dma.metrics import drift, spread
from mental_averages.dma.statistics import jackknife_error, leave_one_out, mean_product, student_quantile


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_spread_is_the_root_of_the_summed_variances():
    rows = normal(9, 4)
    assert spread(rows).value == pytest.approx(math.sqrt(rows.var(0).sum().item()))


def test_spread_and_its_interval_by_definition():
    rows = normal(9, 4, seed=1)
    replicates = leave_one_out(lambda kept: rows[kept].var(0).sum(), 9)
    half = student_quantile(8) * jackknife_error(replicates).item()
    square = rows.var(0).sum().item()
    assert spread(rows) == pytest.approx((math.sqrt(square), math.sqrt(square - half), math.sqrt(square + half)))


def test_a_shift_of_everything_is_a_drift_by_its_own_length():
    before, shift = normal(12, 3), torch.tensor([2.0, 1.0, 2.0])
    assert drift(before, before + shift).value == pytest.approx(3 / spread(before).value)


def test_drift_and_its_interval_by_definition():
    before, after = normal(8, 3), normal(8, 3, seed=1) + 1

    def square(kept):
        moved = after[kept] - before[kept]
        return torch.tensor(mean_product(moved)[0], dtype=torch.float64) / before[kept].var(0).sum()

    value = square(list(range(8))).item()
    half = student_quantile(7) * jackknife_error(leave_one_out(square, 8)).item()
    assert drift(before, after) == pytest.approx(
        [math.sqrt(max(0.0, each)) for each in (value, value - half, value + half)])


def test_nothing_has_moved():
    before = normal(6, 5)
    assert drift(before, before) == (0.0, 0.0, 0.0)


def test_units_do_not_count():
    before, after = normal(10, 6), normal(10, 6, seed=2) + 0.5
    assert drift(1e6 * before, 1e6 * after) == pytest.approx(drift(before, after))


def test_samples_that_only_change_places_do_not_drift():
    """Without bias: over many sets its square is that of the true shift, 0, although every sample has moved."""
    squares = []
    for seed in range(300):
        before, after = normal(2, 12, 4, seed=seed)
        moved = after - before
        squares.append(mean_product(moved)[0] / before.var(0).sum().item())
    assert abs(sum(squares) / 300) < 0.03
    assert sum(drift(*normal(2, 12, 4, seed=seed)).low == 0 for seed in range(100)) >= 90


@pytest.mark.parametrize("shift, own", [(1.0, 0.3), (2.0, 1.0)])
def test_the_interval_holds_the_true_drift(shift, own):
    """Samples that keep part of their place, as those of one noise do."""
    held, trials, width = 0, 300, 6
    for seed in range(trials):
        before, change = normal(2, 16, width, seed=seed)
        after = before + own * change + shift  # |E d| = shift * sqrt(width)
        found = drift(before, after)
        held += found.low <= shift <= found.high  # the spread is sqrt(width)
    assert 0.9 <= held / trials <= 0.99


@pytest.mark.parametrize("before, after, message", [
    (torch.zeros(2, 3), torch.zeros(2, 3), "N at least 3"), (torch.zeros(4, 0), torch.zeros(4, 0), "N at least 3"),
    (torch.zeros(3), torch.zeros(3), "N at least 3"), (normal(4, 2), normal(5, 2), "as many samples"),
    (normal(4, 2), normal(4, 3), "as many samples"), (normal(4, 2) / 0, normal(4, 2), "finite"),
    (torch.ones(4, 2), normal(4, 2), "no scatter"), (torch.eye(4)[:, :1], normal(4, 1), "no scatter")])
def test_what_has_no_drift(before, after, message):
    with pytest.raises(ValueError, match=message):
        drift(before, after)


@pytest.mark.parametrize("measure", [spread, lambda rows: drift(rows, 2 * rows)])
def test_what_overflows_is_no_spread_and_no_drift(measure):
    """A drift that was NaN counted as none, with an interval from 0 to 0."""
    with pytest.raises(ValueError, match="squares overflow|no scatter"):
        measure(1e200 * torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
