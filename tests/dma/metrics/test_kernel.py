import math

import numpy as np
import pytest
import torch
from wavy_features import wavy

from mental_averages.dma.metrics import kernel_distance, kernel_estimate, kernel_subsets, unit_rows
from mental_averages.dma.statistics import jackknife_error, leave_one_out, student_quantile


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_loops(first, second, scale):
    def mean(pairs):
        kernels = [(scale * math.fsum(a * b for a, b in zip(x, y)) + 1) ** 3 for x, y in pairs]
        return math.fsum(kernels) / len(kernels)

    def within(rows):
        return mean([(x, y) for i, x in enumerate(rows) for j, y in enumerate(rows) if i != j])

    first, second = first.tolist(), second.tolist()
    return within(first) + within(second) - 2 * mean([(x, y) for x in first for y in second])


@pytest.mark.parametrize("count, others, width", [(7, 9, 3), (2, 5, 11), (12, 2, 1)])
def test_it_is_the_plain_double_loop_over_pairs(count, others, width):
    first, second = normal(count, width), 2 * normal(others, width, seed=1) + 0.5
    assert kernel_distance(first, second) == pytest.approx(by_loops(first, second, 1 / width), rel=1e-10)
    assert kernel_distance(first, second, scale=0.7) == pytest.approx(by_loops(first, second, 0.7), rel=1e-10)
    assert kernel_distance(second, first) == pytest.approx(kernel_distance(first, second), rel=1e-10)


def test_more_rows_than_are_taken_at_a_time():
    first, second = normal(2500, 4), normal(1025, 4, seed=1) + 1
    kernels = [(x @ y.T / 4 + 1) ** 3 for x, y in ((first, first), (second, second), (first, second))]
    within = [(kernel.sum() - kernel.trace()) / (len(kernel) * (len(kernel) - 1)) for kernel in kernels[:2]]
    assert kernel_distance(first, second) == pytest.approx((sum(within) - 2 * kernels[2].mean()).item(), rel=1e-10)


def test_two_points_have_a_closed_form():
    first, second = torch.tensor([[2.0, 0.0]]).expand(4, 2), torch.tensor([[0.0, 1.0]]).expand(3, 2)
    assert kernel_distance(first, second) == pytest.approx((4 / 2 + 1) ** 3 + (1 / 2 + 1) ** 3 - 2)
    assert kernel_distance(first, first) == pytest.approx(0, abs=1e-12)


def test_a_sample_against_itself_is_below_0_by_its_equal_pairs():
    rows = normal(10, 4)
    kernel = (rows @ rows.T / 4 + 1) ** 3
    between, themselves = kernel.mean().item(), kernel.diagonal().mean().item()
    # Within is (10 between - themselves) / 9, so that twice the difference is 2 (between - themselves) / 9.
    assert kernel_distance(rows, rows) == pytest.approx(2 * (between - themselves) / 9, rel=1e-10)
    assert kernel_distance(rows, rows) < 0


@pytest.mark.parametrize("count, others", [(2, 2), (5, 20)])
def test_draws_of_one_distribution_are_at_0_on_average_at_any_number(count, others):
    found = torch.tensor([kernel_distance(normal(count, 3, seed=2 * seed), normal(others, 3, seed=2 * seed + 1))
                          for seed in range(3000)], dtype=torch.float64)
    assert abs(found.mean()) < 3.5 * found.std() / len(found) ** 0.5
    assert (found < 0).any() and (found > 0).any()


def test_draws_of_two_distributions_have_their_distance_on_average():
    # In one dimension E (xy + 1)^3 = m3 m3' + 3 m2 m2' + 3 m1 m1' + 1 with the moments of x and y, so that the distance
    # is the sum of squared differences of moments: of N(0, 1) (0, 1, 0), of N(1, 1) (1, 2, 4).
    found = torch.tensor([kernel_distance(normal(4, 1, seed=2 * seed), normal(6, 1, seed=2 * seed + 1) + 1)
                          for seed in range(6000)], dtype=torch.float64)
    assert abs(found.mean() - (3 * 1 + 3 * 1 + 16)) < 3.5 * found.std() / len(found) ** 0.5


def test_it_grows_with_a_shift_and_scale_of_features_is_scale_of_the_kernel():
    first, second = normal(50, 4), normal(60, 4, seed=1)
    distances = [kernel_distance(first, second + shift) for shift in (0.5, 1.0, 2.0, 4.0)]
    assert distances == sorted(distances) and distances[0] > 0
    scaled = kernel_distance(first, second, scale=9 / 4)
    assert kernel_distance(3 * first, 3 * second) == pytest.approx(scaled, rel=1e-10)


def test_a_rotation_of_both_changes_nothing():
    first, second, turn = normal(20, 5), normal(30, 5, seed=1) + 1, torch.linalg.qr(normal(5, 5, seed=2)).Q
    assert kernel_distance(first @ turn, second @ turn) == pytest.approx(kernel_distance(first, second), rel=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_taken_in_double_whatever_comes(dtype):
    first, second = normal(30, 5).to(dtype).requires_grad_(), (normal(40, 5, seed=1) + 1).to(dtype)
    assert kernel_distance(first, second) == kernel_distance(first.double(), second.double())


@pytest.mark.parametrize("first, second, complaint", [
    (torch.ones(1, 3), torch.ones(4, 3), "features must have at least two rows.*not 1"),
    (torch.ones(4, 3), torch.ones(4, 2), "same features in their columns.*3 and 2"),
    (torch.ones(4, 3), torch.ones(3), r"others must be a matrix.*\(3,\)"),
    (torch.ones(4, 3), torch.full((4, 3), math.nan), "others must be finite"),
])
def test_samples_that_have_no_distance_are_refused(first, second, complaint):
    with pytest.raises(ValueError, match=complaint):
        kernel_distance(first, second)


@pytest.mark.parametrize("scale", [0, -1.0, math.nan, math.inf])
def test_a_scale_that_makes_no_kernel_is_refused(scale):
    with pytest.raises(ValueError, match="scale must be a finite number above 0"):
        kernel_distance(torch.ones(4, 3), torch.ones(4, 3), scale=scale)


# What torch-fidelity 0.4 (kid_features_to_metric, 7 subsets of 10, seed 2020) gave for the same features, by
# benchmarks/metrics/metric_parity.py.
@pytest.mark.parametrize("count, others, width, mean, deviation", [
    (40, 30, 6, 0.47155346821545197, 0.34512986067204454), (12, 20, 48, 0.30750859572222117, 0.040521021108886446)])
def test_torch_fidelity_gives_the_same(count, others, width, mean, deviation):
    found = kernel_subsets(wavy(count, width, 0.0), wavy(others, width, 0.4), subsets=7, size=10, seed=2020)
    assert found == pytest.approx((mean, deviation), rel=1e-9)


def test_one_subset_of_all_rows_is_the_distance():
    first, second = normal(9, 3), normal(9, 3, seed=1) + 1
    assert kernel_subsets(first, second, subsets=1, size=9) == pytest.approx((kernel_distance(first, second), 0))


def test_subsets_are_drawn_by_their_seed():
    first, second = normal(30, 3), normal(30, 3, seed=1) + 1
    found = [kernel_subsets(first, second, subsets=5, size=10, seed=seed) for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    chosen = np.random.RandomState(0)
    rows = [each[torch.from_numpy(chosen.choice(30, 10, replace=False))] for each in (first, second)]
    assert kernel_subsets(first, second, subsets=1, size=10).mean == pytest.approx(kernel_distance(*rows))


@pytest.mark.parametrize("subsets, size", [(0, 5), (1, 1), (1, 21), (1, 0)])
def test_subsets_that_cannot_be_drawn_are_refused(subsets, size):
    with pytest.raises(ValueError, match="cannot be drawn from samples of 20 and 30.*2 to 20 rows"):
        kernel_subsets(normal(20, 3), normal(30, 3), subsets=subsets, size=size)


def test_the_interval_is_the_jackknifes():
    first, second = normal(8, 3), normal(6, 3, seed=1) + 1
    errors = [jackknife_error(leave_one_out(lambda kept: torch.tensor(kernel_distance(first[kept], second)), 8)),
              jackknife_error(leave_one_out(lambda kept: torch.tensor(kernel_distance(first, second[kept])), 6))]
    found, half = kernel_estimate(first, second), student_quantile(5) * torch.stack(errors).norm().item()
    assert found.high - found.value == pytest.approx(half, rel=1e-6)
    assert found.value - found.low == pytest.approx(half, rel=1e-6)


def test_the_interval_holds_the_distance_of_the_distributions():
    def draw(count, others, seed):
        return unit_rows(normal(count, 16, seed=2 * seed) + 0.3), unit_rows(normal(others, 16, seed=2 * seed + 1) + 0.5)

    truth = kernel_distance(*draw(4000, 4000, 5000), scale=1)
    found = [kernel_estimate(*draw(30, 40, seed), scale=1) for seed in range(300)]
    assert 0.93 <= sum(each.low <= truth <= each.high for each in found) / len(found) <= 0.999
