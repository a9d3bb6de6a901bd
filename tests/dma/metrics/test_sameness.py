"""How alike samples are: the definition, closed forms, how often the interval holds the truth, what is refused."""
import math

import pytest
import torch

from mental_averages.dma.metrics import sameness
from mental_averages.dma.statistics import jackknife_error, leave_one_out, student_quantile


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_pairs(rows):
    found = [torch.nn.functional.cosine_similarity(rows[i], rows[j], dim=0)
             for i in range(len(rows)) for j in range(i)]
    return torch.stack(found).mean()


@pytest.mark.parametrize("count, width", [(3, 5), (16, 4), (7, 300)])
def test_it_is_the_mean_over_pairs_with_the_error_of_the_jackknife(count, width):
    rows = normal(count, width) + 0.7
    found, error = sameness(rows), jackknife_error(leave_one_out(lambda kept: by_pairs(rows[kept]), count)).item()
    assert found.mean == pytest.approx(by_pairs(rows).item(), rel=1e-12)
    half = student_quantile(count - 1) * error
    assert found.low == pytest.approx(max(-1, found.mean - half), rel=1e-9)
    assert found.high == pytest.approx(min(1, found.mean + half), rel=1e-9)


def test_directions_at_equal_angles_have_a_closed_form():
    """N unit vectors of a regular simplex have the cosine -1 / (N - 1), each with each, and nothing is uncertain."""
    count = 5
    rows = torch.eye(count, dtype=torch.float64) - 1 / count
    found = sameness(rows)
    assert found.mean == pytest.approx(-1 / (count - 1)) and found.high - found.low < 1e-9


@pytest.mark.parametrize("count", [4, 16])
def test_two_new_samples_are_as_alike_on_average_at_any_number(count):
    """Samples at 1 + noise in two dimensions with angles of a known law: the mean of cos is (E cos)^2."""
    angles = normal(4000, count, seed=count)
    found = [sameness(torch.stack([row.cos(), row.sin()], 1)).mean for row in angles]
    values = torch.tensor(found, dtype=torch.float64)
    # For normal angles of variance 1, E cos = exp(-1/2) and E sin = 0.
    assert abs(values.mean() - math.exp(-1)) < 3.5 * values.std() / len(values) ** 0.5


@pytest.mark.parametrize("count", [3, 8, 16])
def test_the_interval_holds_the_truth_about_as_often_as_it_says(count):
    truth, held = 1 / (1 + 1), []
    # In many dimensions the cosine of two vectors mean + noise is |mean|^2 / (|mean|^2 + D).
    for seed in range(400):
        found = sameness(normal(count, 256, seed=seed) + 1)
        held.append(found.low <= truth <= found.high)
    assert 0.91 <= sum(held) / len(held) <= 0.995


def test_lengths_and_rotations_change_nothing_and_the_type_little():
    rows, turn = normal(6, 5) + 1, torch.linalg.qr(normal(5, 5, seed=2)).Q
    lengths = torch.arange(1.0, 7.0)[:, None]
    for other in (lengths * rows, rows @ turn, rows.flip(0)):
        assert sameness(other) == pytest.approx(sameness(rows), rel=1e-9)
    assert sameness(rows.float()) == pytest.approx(sameness(rows), rel=1e-5)


def test_nearly_equal_samples_stay_within_1():
    found = sameness(torch.ones(8, 3) + 1e-7 * normal(8, 3).float())
    assert found.mean == pytest.approx(1) and found.low <= found.mean <= found.high <= 1


@pytest.mark.parametrize("rows, complaint", [
    (torch.ones(0, 3), "There are 0 samples"), (normal(1, 3), "There is 1 sample, .* from 3 or more"),
    (normal(2, 3), "There are 2 samples"), (torch.ones(4, 3), "All 4 samples are the same"),
    (normal(4), "shape"), (normal(4, 3, 2), "shape"), (normal(4, 0), "shape"),
    (torch.full((4, 3), math.nan), "finite"), (torch.full((4, 3), math.inf), "finite"),
    (torch.eye(3) * torch.tensor([1.0, 1.0, 0.0]), "no direction")])
def test_what_cannot_be_compared_is_refused(rows, complaint):
    with pytest.raises(ValueError, match=complaint):
        sameness(rows)
