"""Moments that add up: any batches, any machines, more and fewer rows than features."""
import pytest
import torch
from hypothesis import given, settings, strategies as st

from mental_averages.dma.metrics import FeatureMoments, GroupedMoments, moments_of


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.integers(1, 6), st.integers(0, 1000))
def test_any_batches_and_machines_give_the_same_moments(sizes, width, seed):
    rows = normal(sum(sizes), width, seed=seed) + 3
    machines = [FeatureMoments(), FeatureMoments()]
    for number, chunk in enumerate(rows.split(sizes) if len(rows) else []):
        machines[number % 2].update(chunk)
    machines[0].merge(machines[1])
    found = machines[0]
    assert found.count == len(rows)
    if len(rows) > 1:
        torch.testing.assert_close(found.mean, rows.mean(0), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(found.covariance, torch.cov(rows.T).reshape(width, width), rtol=1e-9, atol=1e-12)
        assert len(found.factor) <= 2 * width


def test_few_rows_of_many_features_take_little_memory():
    moments = FeatureMoments()
    for chunk in normal(12, 5000).split(4):
        moments.update(chunk)
    assert moments.factor.shape == (12 + 2, 5000)


def test_the_variance_of_a_mean_is_that_of_its_numbers():
    rows, direction = normal(9, 4), normal(4, seed=1)
    assert moments_of(rows).variance_of_mean(direction) == pytest.approx(((rows @ direction).var() / 9).item())
    assert moments_of(rows[:1]).variance_of_mean(direction) == 0


def test_groups_are_dealt_in_turn_whatever_the_batches():
    rows, found = normal(33, 3), GroupedMoments()
    for chunk in rows.split([7, 1, 20, 5]):
        found.update(chunk)
    for number, group in enumerate(found.groups):
        assert group.count == len(rows[number::10])
        torch.testing.assert_close(group.mean, rows[number::10].mean(0))
    torch.testing.assert_close(found.whole().covariance, torch.cov(rows.T))
    left = found.without()[2]
    torch.testing.assert_close(left.mean, rows[[row for row in range(33) if row % 10 != 2]].mean(0))


def test_machines_merge_as_if_one_had_seen_all_rows():
    rows, one, other, whole = normal(25, 3), GroupedMoments(), GroupedMoments(), GroupedMoments()
    one.update(rows[:14])
    other.update(rows[14:])
    one.merge(other)
    whole.update(rows)
    for group, expected in zip(one.groups, whole.groups):
        assert group.count == expected.count
        torch.testing.assert_close(group.mean, expected.mean)
    torch.testing.assert_close(one.whole().covariance, torch.cov(rows.T))


@pytest.mark.parametrize("rows, complaint", [
    (torch.ones(3), "matrix"), (torch.ones(3, 0), "matrix"), (torch.full((3, 2), float("nan")), "finite"),
    (torch.ones(3, 5), "not 2 and 5")])
def test_rows_that_do_not_fit_are_refused(rows, complaint):
    moments = moments_of(torch.ones(4, 2))
    with pytest.raises(ValueError, match=complaint):
        moments.update(rows)
