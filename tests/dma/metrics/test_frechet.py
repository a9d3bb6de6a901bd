import math

import pytest
import torch

from mental_averages.dma.metrics import frechet_distance


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
