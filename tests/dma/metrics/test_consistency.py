"""Consistency within and between ensembles: plain loops, closed forms, sums that add up, the interval."""
import itertools
import math

import pytest
import torch

from mental_averages.dma.metrics import (
    EnsembleSums,
    consistency,
    consistency_between,
    consistency_within,
    pairwise_distance,
    sameness,
)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def distance(one, other):
    return 1 - torch.nn.functional.cosine_similarity(one, other, dim=0).item()


def sums_of(rows, names, sizes):
    sums, begin = EnsembleSums(), 0
    for size in sizes:
        sums.update(rows[begin : begin + size], names[begin : begin + size])
        begin += size
    return sums


@pytest.mark.parametrize("count", [3, 10])
def test_it_is_1_less_the_sameness_with_its_interval(count):
    rows = normal(count, 6) + 1
    found, alike = consistency(rows), sameness(rows)
    assert found == pytest.approx((1 - alike.mean, 1 - alike.high, 1 - alike.low), rel=1e-9)
    assert pairwise_distance(rows) == found.value


def test_equal_averages_are_consistent_and_opposite_ones_are_not():
    assert consistency(torch.ones(5, 3)) == pytest.approx((0, 0, 0), abs=1e-12)
    found = consistency(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    assert found.value == 2 and found.low is None
    assert math.isnan(pairwise_distance(torch.ones(1, 3)))
    with pytest.raises(ValueError, match="two ensembles or more"):
        consistency(torch.ones(1, 3))


NAMES = [0, 1, 1, 2, 0, 2, 2, 3, 0]


def test_within_and_between_are_the_plain_loops_over_pairs():
    rows = normal(len(NAMES), 4) + 1
    of = {name: [row for row, other in zip(rows, NAMES) if other == name] for name in set(NAMES)}
    between = [sum(distance(a, b) for a, b in itertools.product(of[one], of[other])) / len(of[one]) / len(of[other])
               for one, other in itertools.combinations(of, 2)]
    within = [sum(pairs) / len(pairs) for pairs in ([distance(a, b) for a, b in itertools.combinations(members, 2)]
                                                    for members in of.values()) if pairs]
    sums = sums_of(rows, NAMES, [9])
    assert consistency_between(sums).value == pytest.approx(sum(between) / len(between), rel=1e-9)
    assert consistency_within(sums).value == pytest.approx(sum(within) / len(within), rel=1e-9)
    assert len(within) == 3  # the ensemble of one picture has no pair


def test_sums_add_up_over_batches_and_machines():
    rows = normal(len(NAMES), 4) + 1
    whole, one, other = sums_of(rows, NAMES, [9]), sums_of(rows[:4], NAMES[:4], [3, 1]), EnsembleSums()
    other.update(rows[4:], NAMES[4:])
    one.merge(other)
    assert one.counts == whole.counts
    for measure in (consistency_between, consistency_within):
        assert measure(one) == pytest.approx(measure(whole), rel=1e-9)


def test_one_picture_from_each_ensemble_is_consistency():
    rows = normal(6, 4) + 1
    assert consistency_between(sums_of(rows, list("abcdef"), [6])) == pytest.approx(consistency(rows), rel=1e-12)


def test_the_interval_between_holds_the_truth():
    """Ensembles scatter around one direction, pictures around their ensemble's: 1 - |m|^2 / E |x|^2."""
    held, width = [], 256
    truth = 1 - 1 / (1 + 0.5 + 0.25)
    for seed in range(200):
        centres = 1 + 0.5**0.5 * normal(6, 1, width, seed=2 * seed)
        rows = centres + 0.5 * normal(6, 3, width, seed=2 * seed + 1)
        found = consistency_between(sums_of(rows.flatten(0, 1), [row // 3 for row in range(18)], [18]))
        held.append(found.low <= truth <= found.high)
    assert 0.88 <= sum(held) / len(held) <= 0.995


def test_what_cannot_be_compared_is_refused():
    sums = EnsembleSums()
    with pytest.raises(ValueError, match="2 rows of features, but 1 names"):
        sums.update(torch.ones(2, 3), ["a"])
    sums.update(torch.ones(1, 3), ["a"])
    with pytest.raises(ValueError, match="from two ensembles or more, but there are 1"):
        consistency_between(sums)
    with pytest.raises(ValueError, match="an ensemble with two pictures"):
        consistency_within(sums)
