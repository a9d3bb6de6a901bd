import math

import pytest
import torch
from hypothesis import given, settings, strategies as st

from mental_averages.dma.statistics import LOOK_AFTER, RunningMoments


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=6), st.integers(0, 1000))
def test_any_split_into_batches_gives_the_same_moments(sizes, seed):
    rows = torch.randn(sum(sizes), 3, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 100
    moments = RunningMoments()
    for chunk in rows.split(sizes):
        moments.update(chunk)
    torch.testing.assert_close(moments.mean, rows.mean(0))
    if len(rows) > 1:
        torch.testing.assert_close(moments.variance, rows.var(0), rtol=1e-7, atol=1e-12)
    else:
        assert math.isnan(moments.variance.sum())


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=5), st.integers(0, 1000), st.floats(1e-6, 1e6))
def test_weighted_moments(sizes, seed, scale):
    """In any batches: integer weights are repeated rows, their common scale has no effect, and the error is that of sum
    w x."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(sum(sizes), 3, 2, generator=generator, dtype=torch.float64) + 10
    times = torch.randint(0, 4, (len(rows),), generator=generator)
    times[-1] = 2
    moments = RunningMoments()
    for chunk, weights in zip(rows.split(sizes), times.split(sizes)):
        moments.update(chunk, scale * weights)
    repeated = rows.repeat_interleave(times, 0)
    torch.testing.assert_close(moments.mean, repeated.mean(0))
    torch.testing.assert_close(moments.deviations / moments.weight, repeated.var(0, correction=0), rtol=1e-6, atol=1e-9)
    shares = times.double() / times.sum()
    assert moments.count == len(rows) and moments.effective_count == pytest.approx(1 / shares.square().sum().item())
    if (times > 0).sum() > 1:
        # Unbiased for independent rows, E sum w (x - m)^2 = var (sum w - sum w^2 / sum w); their mean has the variance
        # var sum w^2.
        variance = (shares @ (rows - moments.mean).square().flatten(1)) / (1 - shares.square().sum())
        torch.testing.assert_close(moments.variance.flatten(), variance, rtol=1e-6, atol=1e-9)
        error = (variance.sum() * shares.square().sum()).sqrt() / moments.mean.norm()
        assert moments.standard_error == pytest.approx(error.item(), rel=1e-6)


def test_rows_without_weight_do_not_count():
    rows = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    moments = RunningMoments()
    for chunk, weights in ((rows[:2], torch.zeros(2)), (rows[2:5], torch.ones(3)), (rows[5:], torch.zeros(1))):
        moments.update(chunk, weights)
    torch.testing.assert_close(moments.mean, rows[2:5].double().mean(0))
    torch.testing.assert_close(moments.variance, rows[2:5].double().var(0))
    alone = RunningMoments()
    alone.update(rows[:2], torch.tensor([0.0, 1.0]))
    assert alone.variance.isnan().all() and alone.effective_count == 1


def test_before_any_row():
    assert RunningMoments().effective_count == 0


def test_a_mean_is_certain_after_whole_blocks_alone_and_never_of_nothing():
    rows = torch.randn(3 * LOOK_AFTER, 4, generator=torch.Generator().manual_seed(0)) + 5
    moments = RunningMoments()
    assert not moments.is_certain(1.0)
    for row in rows:
        moments.update(row[None])
        expected = moments.count % LOOK_AFTER == 0 and moments.standard_error <= 0.05
        assert moments.is_certain(0.05) == expected and not moments.is_certain(0.0)
    assert moments.is_certain(0.05) and not moments.is_certain(moments.standard_error / 2)
