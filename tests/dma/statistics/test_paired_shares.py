"""The change of a share between two looks at the same cases."""
import math

import pytest
import torch

from mental_averages.dma.statistics import change_of_share, wilson_interval


def looks(both, after_only, before_only, neither):
    """Two looks at cases, by how many of them show something in both, in one, or in neither."""
    before = [True] * both + [False] * after_only + [True] * before_only + [False] * neither
    after = [True] * both + [True] * after_only + [False] * before_only + [False] * neither
    return before, after


def test_newcombe_s_own_example():
    found = change_of_share(*looks(36, 12, 2, 0))
    assert found == pytest.approx((0.2, 0.0569, 0.3404), abs=5e-5)


def test_nothing_and_everything_changed():
    """Without correlation, as where a share is 0 or 1: Wilson's limits of both, squared and added."""
    low, high = wilson_interval(0, 8)
    found = change_of_share([False] * 8, [True] * 8)
    assert found == pytest.approx((1.0, 1 - math.sqrt(2) * high, 1.0))
    still = change_of_share([False] * 8, [False] * 8)
    assert still == pytest.approx((0.0, -high, high)) and low == 0


def test_before_and_after_change_places():
    before, after = looks(5, 4, 1, 6)
    there, back = change_of_share(before, after), change_of_share(after, before)
    assert there == pytest.approx((-back.difference, -back.high, -back.low))


def test_the_same_cases_are_known_better_than_others():
    """Cases that agree leave less to chance than the same shares of cases that have nothing to do with each other."""
    together, apart = change_of_share(*looks(18, 4, 0, 18)), change_of_share(*looks(10, 12, 8, 10))
    assert together.difference == pytest.approx(apart.difference)
    assert together.high - together.low < 0.7 * (apart.high - apart.low)


def test_the_interval_holds_the_true_change():
    generator, held, trials = torch.Generator().manual_seed(0), 0, 400
    for _ in range(trials):
        shared, own = torch.rand(2, 24, generator=generator)
        before = shared < 0.3
        after = before ^ (own < 0.25)  # 0.3 * 0.75 + 0.7 * 0.25 = 0.4
        _, low, high = change_of_share(before.tolist(), after.tolist())
        held += low <= 0.1 <= high
    assert 0.92 <= held / trials <= 0.99


@pytest.mark.parametrize("before, after", [([], []), ([True], []), ([True], [True, False])])
def test_other_cases(before, after):
    with pytest.raises(ValueError, match="the same cases, one or more"):
        change_of_share(before, after)
