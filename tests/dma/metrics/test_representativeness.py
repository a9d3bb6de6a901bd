"""Representativeness: plain means over pairs, own samples left out, moments that add up, the interval."""
import math

import pytest
import torch
from peak_memory import largest_made_by

from mental_averages.dma.metrics import (
    distance_to_mean,
    distance_to_mean_of_moments,
    moments_of,
    representativeness,
    representativeness_of_moments,
    unit_rows,
)
from mental_averages.dma.statistics import jackknife_error, leave_one_out, student_quantile


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_pairs(rows, others):
    return 1 - torch.nn.functional.cosine_similarity(rows[:, None], others[None], dim=2).mean()


def to_mean(rows, others):
    return 1 - torch.nn.functional.cosine_similarity(rows, unit_rows(others).mean(0, keepdim=True), dim=1).mean()


PLAIN = {representativeness: by_pairs, distance_to_mean: to_mean}


@pytest.mark.parametrize("measure", PLAIN)
@pytest.mark.parametrize("count", [1, 7])
def test_it_is_the_plain_mean_with_the_error_of_both_sets(measure, count):
    rows, others = normal(count, 5) + 1, normal(40, 5, seed=1) + 1
    found, plain = measure(rows, others), PLAIN[measure]
    assert found.value == pytest.approx(plain(rows, others).item(), rel=1e-12)
    errors = [jackknife_error(leave_one_out(lambda kept: plain(rows, others[kept]), 40))]
    if count > 1:
        errors.append(jackknife_error(leave_one_out(lambda kept: plain(rows[kept], others), count)))
    half = student_quantile(count - 1 if count > 1 else 39) * torch.stack(errors).norm().item()
    assert found.high - found.value == pytest.approx(half, rel=0.02 if measure is distance_to_mean else 1e-9)


def test_moments_of_machines_add_up():
    rows, others = unit_rows(normal(6, 5) + 1), unit_rows(normal(21, 5, seed=1) + 1)
    one, other = moments_of(others[:8]), moments_of(others[8:])
    one.merge(other)
    assert representativeness_of_moments(moments_of(rows), one) == pytest.approx(representativeness(rows, others))
    assert distance_to_mean_of_moments(moments_of(rows), one) == pytest.approx(distance_to_mean(rows, others))


@pytest.mark.parametrize("measure", PLAIN)
def test_own_samples_are_left_out_of_the_reference(measure):
    others = normal(12, 5) + 1
    rows, own = others[[3, 7]], torch.zeros(2, 12, dtype=torch.bool)
    own[0, 3] = own[1, 7] = True
    found, plain = measure(rows, others, own=own), PLAIN[measure]
    expected = torch.stack([plain(others[[k]], others[[n for n in range(12) if n != k]]) for k in (3, 7)]).mean()
    assert found.value == pytest.approx(expected.item(), rel=1e-12)
    assert found.value > measure(rows, others).value


@pytest.mark.parametrize("measure", PLAIN)
def test_nothing_left_out_is_the_same_as_no_own(measure):
    rows, others = normal(4, 5) + 1, normal(35, 5, seed=1) + 1
    nothing = torch.zeros(4, 35, dtype=torch.bool)
    found, expected = measure(rows, others, own=nothing), measure(rows, others)
    assert found.value == pytest.approx(expected.value, rel=1e-12)
    # The distance to the mean has the delta method's interval without own pictures, and the jackknife's with them.
    assert found == pytest.approx(expected, rel=1e-9 if measure is representativeness else 0.02)


@pytest.mark.parametrize("measure", PLAIN)
def test_the_interval_with_own_samples_is_the_jackknifes(measure):
    rows, others = normal(3, 5) + 1, normal(10, 5, seed=1) + 1
    own = torch.arange(10)[None] // 2 == torch.arange(3)[:, None]

    def plain(kept_rows, kept):
        return torch.stack([PLAIN[measure](rows[[r]], others[[n for n in kept if not own[r, n]]])
                            for r in kept_rows]).mean()

    errors = [jackknife_error(leave_one_out(lambda kept: plain(range(3), kept), 10)),
              jackknife_error(leave_one_out(lambda kept: plain(kept, range(10)), 3))]
    found = measure(rows, others, own=own)
    least, most = torch.stack(errors).norm().item(), torch.stack(errors).sum().item()  # independent, and one
    assert student_quantile(2) * least * (1 - 1e-9) <= found.high - found.value <= student_quantile(2) * most


@pytest.mark.parametrize("averages, pictures, size", [(32, 32, 1), (16, 32, 1), (24, 40, 2)])
def test_the_interval_of_samples_among_themselves_holds_the_truth_as_often_as_it_says(averages, pictures, size):
    """An average that is a picture of the reference moves both; taken for independent they gave 85 of 100."""
    width, held, trials = 16, 0, 300
    centre = 2.0 * torch.eye(width, dtype=torch.float64)[0]
    truth = 1 - unit_rows(centre + normal(200000, width)).mean(0).square().sum().item()
    own = torch.eye(averages, pictures, dtype=torch.bool)
    for seed in range(1, trials + 1):
        others = centre + normal(pictures, width, seed=seed)
        found = representativeness(others[:averages], others, own=own, ensemble_size=size)
        held += found.low <= truth <= found.high
    assert 0.91 < held / trials < 0.99


@pytest.mark.parametrize("measure", PLAIN)
def test_many_averages_and_pictures_are_compared_in_blocks(measure, monkeypatch):
    rows, others, own = normal(7, 5) + 1, normal(9, 5, seed=1) + 1, torch.zeros(7, 9, dtype=torch.bool)
    own[0, 3] = own[5, 1] = True
    expected = measure(rows, others, own=own)
    taken = []
    from mental_averages.dma.metrics import _representativeness
    monkeypatch.setattr(_representativeness, "blocks", lambda count, width: taken.append(width) or [
        slice(0, 3), slice(3, 6), slice(6, 7)])
    assert measure(rows, others, own=own) == pytest.approx(expected, rel=1e-12) and taken == [9, 9]


@pytest.mark.parametrize("size", [1, 2])
def test_no_matrix_of_all_averages_and_pictures_is_made_in_double(monkeypatch, size):
    rows, others = normal(256, 2) + 1, normal(300, 2, seed=1) + 1
    own = torch.eye(256, 300, dtype=torch.bool)
    from mental_averages.dma.metrics import _representativeness
    monkeypatch.setattr(_representativeness, "blocks", lambda count, width: [
        slice(start, start + 8) for start in range(0, count, 8)])
    most = largest_made_by(lambda: representativeness(rows, others, own=own, ensemble_size=size))
    assert most < 8 * 256 * 300 / size / 2


def test_samples_among_themselves_are_as_far_as_new_ones():
    """Left out, a plain sample is no nearer to the samples that it is one of than to others."""
    width, found = 256, []
    for seed in range(100):
        rows = normal(8, width, seed=seed) + 1
        found.append(representativeness(rows[:1], rows, own=torch.arange(8)[None] == 0).value)
    values = torch.tensor(found)
    assert abs(values.mean() - 0.5) < 4 * values.std() / 10 + 0.002


def test_the_distance_to_the_mean_is_the_smaller():
    rows, others = normal(4, 50) + 1, normal(30, 50, seed=1) + 1
    assert distance_to_mean(rows, others).value < representativeness(rows, others).value
    assert distance_to_mean(others.mean(0, keepdim=True), others).value == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("measure", PLAIN)
@pytest.mark.parametrize("rows, others, complaint", [
    (torch.ones(0, 3), torch.ones(2, 3), "features must be a matrix"),
    (torch.ones(2, 3), torch.ones(2, 4), "not 3 and 4"), (torch.ones(2, 3), torch.zeros(2, 3), "rows of reference"),
    (torch.full((2, 3), math.nan), torch.ones(2, 3), "features must be finite")])
def test_sets_that_have_no_distance_are_refused(measure, rows, others, complaint):
    with pytest.raises(ValueError, match=complaint):
        measure(rows, others)


def test_a_reference_without_a_mean_and_an_own_that_does_not_fit_are_refused():
    with pytest.raises(ValueError, match="mean of the reference's features is 0"):
        distance_to_mean(torch.ones(1, 1), torch.tensor([[1.0], [-1.0]]))
    with pytest.raises(ValueError, match="mean of the reference's features is 0"):
        distance_to_mean(torch.ones(1, 1), torch.tensor([[1.0], [1.0], [-1.0]]), own=torch.tensor([[1, 0, 0]]))
    for measure in PLAIN:
        with pytest.raises(ValueError, match="of 1 averages and 2 pictures"):
            measure(torch.ones(1, 2), torch.ones(2, 2), own=torch.zeros(2, 1))
        with pytest.raises(ValueError, match="no picture of the reference"):
            measure(torch.ones(1, 2), torch.ones(2, 2), own=torch.ones(1, 2))
