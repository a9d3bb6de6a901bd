"""The discrepancy by any kernel: plain loops, closed forms of a linear kernel, the jackknife."""
import pytest
import torch

from mental_averages.dma.metrics._discrepancy import ROWS, discrepancy
from mental_averages.dma.statistics import jackknife_error, leave_one_out, student_quantile


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def linear(rows, others):
    return rows @ others.T


def gaussian(rows, others):
    return torch.exp(-torch.cdist(rows, others) ** 2 / 2)


def test_a_linear_kernel_has_the_distance_of_the_means():
    """Biased |m - m'|^2; unbiased less the variance of both means."""
    first, second = normal(9, 3), normal(7, 3, seed=1) + 1
    between = (first.mean(0) - second.mean(0)).square().sum().item()
    assert discrepancy(first, second, linear, unbiased=False).value == pytest.approx(between)
    less = between - (first.var(0) / 9 + second.var(0) / 7).sum().item()
    assert discrepancy(first, second, linear, unbiased=True).value == pytest.approx(less)


@pytest.mark.parametrize("unbiased", [True, False])
def test_the_interval_is_the_jackknifes(unbiased):
    first, second = normal(8, 3), normal(6, 3, seed=1) + 1

    def value(one, other):
        return torch.tensor(discrepancy(one, other, gaussian, unbiased=unbiased).value)

    errors = [jackknife_error(leave_one_out(lambda kept: value(first[kept], second), 8)),
              jackknife_error(leave_one_out(lambda kept: value(first, second[kept]), 6))]
    found = discrepancy(first, second, gaussian, unbiased=unbiased)
    half = student_quantile(5) * torch.stack(errors).norm().item()
    assert (found.value - found.low, found.high - found.value) == pytest.approx((half, half), rel=1e-5)


def test_more_rows_than_are_taken_at_a_time():
    first, second = normal(ROWS + 5, 2), normal(ROWS - 1, 2, seed=1)
    kernels = [gaussian(one, other).mean() for one, other in ((first, first), (second, second), (first, second))]
    found = discrepancy(first, second, gaussian, unbiased=False).value
    assert found == pytest.approx((kernels[0] + kernels[1] - 2 * kernels[2]).item(), abs=1e-12)


@pytest.mark.parametrize("size", [1, ROWS + 2])
def test_no_more_of_the_kernels_matrix_is_there_at_once_than_a_block(size):
    """Of the ensembles' own matrix, too."""
    first, second, largest = normal(2 * ROWS + 4, 1), normal(3 * ROWS, 1, seed=1), 0

    def watched(rows, others):
        nonlocal largest
        largest = max(largest, len(rows) * len(others))
        return linear(rows, others)

    found = discrepancy(first, second, watched, unbiased=False, ensemble_size=size)
    assert found.value == pytest.approx((first.mean() - second.mean()).square().item(), rel=1e-9)
    assert largest <= ROWS**2


def test_two_rows_have_no_interval():
    found = discrepancy(normal(2, 3), normal(9, 3), gaussian, unbiased=True)
    assert found.low is None and found.high is None
