"""Means, ratios and their intervals: closed forms, and how often the interval holds the truth."""
import math

import pytest
import torch

from mental_averages.dma.metrics import Estimate, mean_estimate, ratio_of_means
from mental_averages.dma.metrics._estimate import with_error
from mental_averages.dma.statistics import RunningMoments, jackknife_error, leave_one_out, student_quantile


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def moments_of(values):
    moments = RunningMoments()
    moments.update(values)
    return moments


def test_an_interval_is_cut_where_the_number_ends():
    assert with_error(1.5, 0.1, 9, most=1.0) == Estimate(1.0, pytest.approx(1 - 0.1 * student_quantile(9)), 1.0)
    assert with_error(-1e-17, 0.0, 9, least=0.0) == Estimate(0.0, 0.0, 0.0)


@pytest.mark.parametrize("value, error", [(math.nan, 0.1), (0.1, math.nan), (math.inf, 0.1), (0.1, math.inf)])
def test_what_is_not_finite_is_no_estimate(value, error):
    """max(0.0, nan) is 0.0, and min(1.0, nan) 1.0: the best that a distance or a likeness can be."""
    with pytest.raises(ValueError, match="holds NaN, infinity, or numbers whose squares overflow"):
        with_error(value, error, 9, least=0.0, most=1.0)


@pytest.mark.parametrize("values", [[math.nan], [1.0, math.nan], [1.0, math.inf]])
def test_means_and_ratios_of_nan_and_infinity_are_refused(values):
    with pytest.raises(ValueError, match="holds NaN"):
        mean_estimate(moments_of(torch.tensor(values)), least=0.0)
    with pytest.raises(ValueError, match="holds NaN"):
        ratio_of_means(moments_of(torch.tensor(values)), moments_of(torch.tensor([1.0, 2.0])))


def test_the_mean_of_batches_and_machines_has_students_interval():
    values = normal(12)
    one, other = moments_of(values[:5]), moments_of(values[5:7])
    other.update(values[7:])
    one.merge(other)
    found, half = mean_estimate(one), student_quantile(11) * values.std().item() / math.sqrt(12)
    assert found == pytest.approx((values.mean().item(), values.mean().item() - half, values.mean().item() + half))


def test_a_single_number_has_no_interval_and_none_no_mean():
    assert mean_estimate(moments_of(torch.tensor([0.25]))) == Estimate(0.25)
    with pytest.raises(ValueError, match="no numbers"):
        mean_estimate(RunningMoments())


def test_a_ratio_has_the_jackknifes_error():
    """The delta method is the jackknife to first order: equal where numbers scatter little."""
    top, bottom = 3 + 0.001 * normal(20), 2 + 0.001 * normal(30, seed=1)
    found = ratio_of_means(moments_of(top), moments_of(bottom))
    errors = [jackknife_error(leave_one_out(lambda kept: top[kept].mean() / bottom.mean(), 20)),
              jackknife_error(leave_one_out(lambda kept: top.mean() / bottom[kept].mean(), 30))]
    half = student_quantile(19) * torch.stack(errors).norm().item()
    assert found.value == pytest.approx((top.mean() / bottom.mean()).item(), rel=1e-12)
    assert found.high - found.value == pytest.approx(half, rel=1e-3)


def test_the_ratio_of_a_single_picture_has_the_references_error():
    bottom = normal(30) + 5
    found = ratio_of_means(moments_of(torch.tensor([4.0])), moments_of(bottom))
    half = student_quantile(29) * 4 / bottom.mean().item() ** 2 * bottom.std().item() / math.sqrt(30)
    assert found.high - found.value == pytest.approx(half)
    both = moments_of(torch.tensor([4.0]))
    assert ratio_of_means(both, both) == Estimate(1.0)


@pytest.mark.parametrize("top, bottom, complaint", [
    ([], [1.0], "no numbers"), ([1.0], [], "no numbers"), ([1.0], [0.0, 0.0], "mean of the reference is 0.0"),
    ([-2.0, 1.0], [1.0], "mean is -0.5")])
def test_what_is_no_ratio_is_refused(top, bottom, complaint):
    one, other = (moments_of(torch.tensor(values)) if values else RunningMoments() for values in (top, bottom))
    with pytest.raises(ValueError, match=complaint):
        ratio_of_means(one, other)
