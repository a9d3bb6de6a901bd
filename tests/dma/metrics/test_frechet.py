import math

import pytest
import torch
from wavy_features import wavy

from mental_averages.dma.metrics import (
    FeatureMoments,
    GroupedMoments,
    frechet_distance,
    frechet_estimate,
    frechet_of_moments,
    moments_of,
)
from mental_averages.dma.statistics import jackknife_error, leave_one_out, student_quantile


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_moments(rows, mean, deviation):
    """Rows of exactly this mean and, in every column, this standard deviation, all columns uncorrelated."""
    rows = rows - rows.mean(0)
    white = torch.linalg.qr(rows).Q * math.sqrt(len(rows) - 1)
    return white * deviation + mean


def by_eigenvalues(first, second):
    """The definition: tr (S1 S2)^(1/2) from the eigenvalues of S1^(1/2) S2 S1^(1/2)."""
    one, two = torch.cov(first.T), torch.cov(second.T)
    values, vectors = torch.linalg.eigh(one)
    root = vectors * values.clamp_min(0).sqrt() @ vectors.T
    crossed = torch.linalg.eigvalsh(root @ two @ root).clamp_min(0).sqrt().sum()
    return ((first.mean(0) - second.mean(0)).square().sum() + one.trace() + two.trace() - 2 * crossed).item()


def test_diagonal_gaussians_have_a_closed_form():
    means = torch.tensor([[1.0, -2.0, 0.5], [0.0, 1.0, 0.5]])
    deviations = torch.tensor([[1.0, 2.0, 3.0], [2.0, 0.5, 3.0]])
    found = frechet_distance(*(with_moments(normal(rows, 3, seed=rows), mean, deviation)
                               for rows, mean, deviation in zip((50, 80), means.double(), deviations.double())))
    expected = (means[0] - means[1]).square().sum() + (deviations[0] - deviations[1]).square().sum()
    assert found == pytest.approx(expected.item(), rel=1e-12)


def test_draws_of_two_gaussians_come_near_the_closed_form():
    found = frechet_distance(normal(20000, 4), 2 * normal(20000, 4, seed=1) + 1)
    assert found == pytest.approx(4 * (1 + 1), rel=0.03)


SIZES = [(100, 80, 12), (10, 15, 40), (200, 15, 40), (15, 200, 40), (12, 12, 12)]


@pytest.mark.parametrize("count, others, width", SIZES)
def test_more_or_fewer_rows_than_features(count, others, width):
    mixing = normal(width, width, seed=7)
    first, second = normal(count, width) @ mixing, 0.5 * normal(others, width, seed=1) + 0.3
    assert frechet_distance(first, second) == pytest.approx(by_eigenvalues(first, second), rel=1e-6)
    assert frechet_distance(second, first) == pytest.approx(frechet_distance(first, second), rel=1e-12)


@pytest.mark.parametrize("count, width", [(300, 20), (20, 300)])
def test_a_sample_is_at_0_of_itself_in_any_order(count, width):
    rows = normal(count, width)
    for others in (rows, rows.flip(0)):
        assert 0 <= frechet_distance(rows, others) < 1e-12 * width


def test_a_shift_of_one_sample_adds_its_square():
    rows, shift = normal(30, 5), normal(5, seed=1)
    assert frechet_distance(rows, rows + shift) == pytest.approx(shift.square().sum().item(), rel=1e-12)


def test_a_common_shift_and_rotation_change_nothing_and_a_common_scale_counts_squared():
    first, second = normal(30, 5), 2 * normal(40, 5, seed=1) + 1
    found, turn = frechet_distance(first, second), torch.linalg.qr(normal(5, 5, seed=2)).Q
    assert frechet_distance(first @ turn + 1000, second @ turn + 1000) == pytest.approx(found, rel=1e-9)
    assert frechet_distance(3 * first, 3 * second) == pytest.approx(9 * found, rel=1e-12)


def test_constant_rows_leave_the_means_and_the_variance_of_the_others():
    rows = normal(30, 5)
    found = frechet_distance(torch.zeros(2, 5), rows)
    assert found == pytest.approx((rows.mean(0).square() + rows.var(0)).sum().item(), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_statistics_are_taken_in_double_whatever_comes(dtype):
    first, second = normal(30, 5).to(dtype).requires_grad_(), (normal(40, 5, seed=1) + 100).to(dtype)
    assert frechet_distance(first, second) == frechet_distance(first.double(), second.double())


@pytest.mark.parametrize("first, second, complaint", [
    (torch.ones(1, 3), torch.ones(4, 3), "features must have at least two rows.*not 1"),
    (torch.ones(4, 3), torch.ones(0, 3), "others must have at least two rows.*not 0"),
    (torch.ones(4, 3), torch.ones(4, 2), "same features in their columns.*3 and 2"),
    (torch.ones(4, 0), torch.ones(4, 0), "at least one, not 0 and 0"),
    (torch.ones(4), torch.ones(4, 1), r"features must be a matrix.*\(4,\)"),
    (torch.ones(4, 3), torch.ones(4, 3, 1), r"others must be a matrix.*\(4, 3, 1\)"),
    (torch.full((4, 3), math.nan), torch.ones(4, 3), "features must be finite"),
    (torch.ones(4, 3), torch.full((4, 3), math.inf), "others must be finite"),
])
def test_samples_that_have_no_distance_are_refused(first, second, complaint):
    with pytest.raises(ValueError, match=complaint):
        frechet_distance(first, second)


# What torch-fidelity 0.4 (fid_features_to_statistics, fid_statistics_to_metric) gave for the same features, by
# benchmarks/metrics/metric_parity.py.
@pytest.mark.parametrize("count, others, width, expected, tolerance", [
    (40, 30, 6, 0.9890329859972748, 1e-9), (12, 20, 48, 20.32012017958263, 1e-6)])
def test_torch_fidelity_gives_the_same(count, others, width, expected, tolerance):
    first, second = wavy(count, width, 0.0), wavy(others, width, 0.4)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=tolerance)


def grouped(rows, sizes):
    moments = GroupedMoments()
    for chunk in rows.split(sizes):
        moments.update(chunk)
    return moments


def test_batches_and_machines_give_the_same_number_and_interval():
    first, second = normal(60, 5), normal(45, 5, seed=1) + 1
    halves = [grouped(first[:30], 30), grouped(first[30:], 7)]
    halves[0].merge(halves[1])
    found, whole = (frechet_estimate(one, grouped(second, 45)) for one in (halves[0], grouped(first, 60)))
    assert found == pytest.approx(whole, rel=1e-9)
    assert found.value == pytest.approx(frechet_distance(first, second), rel=1e-12)


def test_three_rows_are_left_out_one_by_one():
    first, second = normal(3, 2), normal(3, 2, seed=1) + 2
    found = frechet_estimate(grouped(first, 3), grouped(second, 3))
    errors = [jackknife_error(leave_one_out(lambda kept: torch.tensor(frechet_distance(first[kept], second)), 3)),
              jackknife_error(leave_one_out(lambda kept: torch.tensor(frechet_distance(first, second[kept])), 3))]
    half = student_quantile(2) * torch.stack(errors).norm().item()
    assert found.high - found.value == pytest.approx(half, rel=1e-6)


def test_two_rows_have_a_distance_without_an_interval():
    found = frechet_estimate(grouped(normal(2, 3), 2), grouped(normal(9, 3), 9))
    assert found.low is None and found.high is None and found.value > 0


def test_the_interval_holds_what_samples_of_this_size_give_on_average():
    """The distance of 40 from 40 is on average above that of the distributions: the interval is one of the former."""
    def draw(seed):
        return normal(40, 3, seed=2 * seed), normal(40, 3, seed=2 * seed + 1) + 0.5

    truth = sum(frechet_distance(*draw(1000 + seed)) for seed in range(1500)) / 1500
    found = [frechet_estimate(*(grouped(rows, 40) for rows in draw(seed))) for seed in range(300)]
    held = sum(each.low <= truth <= each.high for each in found) / len(found)
    assert 0.90 <= held <= 0.995


@pytest.mark.parametrize("first, second, complaint", [
    (moments_of(torch.ones(1, 2)), moments_of(torch.ones(2, 2)), "two rows or more, not from 1"),
    (FeatureMoments(), moments_of(torch.ones(2, 2)), "not from 0"),
    (moments_of(torch.ones(3, 3)), moments_of(torch.ones(2, 2)), "not 3 and 2")])
def test_moments_without_a_distance_are_refused(first, second, complaint):
    with pytest.raises(ValueError, match=complaint):
        frechet_of_moments(first, second)


def test_what_overflows_is_no_distance():
    """A distance that was NaN counted as 0, the best."""
    rows = 1e200 * normal(12, 3)
    for measure in (frechet_distance, lambda one, other: frechet_estimate(grouped(one, 4), grouped(other, 4))):
        with pytest.raises(ValueError, match="must be finite|squares overflow"):
            measure(rows, rows + 1e200)
    broken = FeatureMoments(3, math.nan * normal(2), normal(2, 2))
    with pytest.raises(ValueError, match="squares overflow"):
        frechet_of_moments(broken, moments_of(normal(4, 2)))
