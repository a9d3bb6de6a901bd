import math

import numpy as np
import pytest
import torch

from mental_averages.dma import statistics


@pytest.mark.parametrize("count, total", [(0, 7), (7, 7), (3, 10), (250, 1000)])
def test_wilson_bounds_solve_their_equation(count, total):
    """Both bounds are the shares p with |count / total - p| = z sqrt(p (1 - p) / total)."""
    low, high = statistics.wilson_interval(count, total)
    z = 1.959963984540054
    for bound in (low, high):
        if 1e-9 < bound < 1 - 1e-9:
            assert abs(count / total - bound) == pytest.approx(z * math.sqrt(bound * (1 - bound) / total))
    assert 0 <= low <= count / total <= high <= 1 and low < high


def test_wilson_holds_the_share_to_the_last_bit():
    for total in range(1, 200):
        for count in (0, total):
            low, high = statistics.wilson_interval(count, total)
            assert 0 <= low <= count / total <= high <= 1


def test_wilson_covers_more_with_more_confidence():
    wide, narrow = (statistics.wilson_interval(3, 10, confidence=confidence) for confidence in (0.99, 0.5))
    assert wide[0] < narrow[0] < 0.3 < narrow[1] < wide[1]


def test_the_bootstrap_of_a_mean_is_near_its_standard_error():
    values = np.random.default_rng(1).normal(5, 2, 200)
    low, high = statistics.bootstrap_interval(values)
    error = values.std(ddof=1) / math.sqrt(200)
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.2 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.2 * error)
    assert statistics.bootstrap_interval(values) == (low, high) != statistics.bootstrap_interval(values, seed=1)
    assert all(map(math.isnan, statistics.bootstrap_interval([1.0, math.nan])))


def test_every_index_is_left_out_once():
    found = statistics.leave_one_out(lambda kept: torch.tensor(kept), 4)
    assert found.tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]


def test_the_jackknife_of_a_mean_is_its_standard_error():
    values = torch.randn(30, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    error = statistics.jackknife_error(statistics.leave_one_out(lambda kept: values[kept].mean(0), 30))
    torch.testing.assert_close(error, values.std(0) / math.sqrt(30))


@pytest.mark.parametrize("degrees, confidence, expected", [
    (3, 0.95, 3.182), (5, 0.95, 2.571), (7, 0.95, 2.365), (15, 0.95, 2.131), (31, 0.95, 2.040), (15, 0.99, 2.947)])
def test_students_quantiles_are_those_of_the_tables(degrees, confidence, expected):
    tolerance = 0.01 if degrees < 5 else 0.003
    assert statistics.student_quantile(degrees, confidence=confidence) == pytest.approx(expected, rel=tolerance)
