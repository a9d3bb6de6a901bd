import math

import torch
from hypothesis import given, settings, strategies as st

from mental_averages.dma import baselines
from mental_averages.dma.statistics import RunningMoments


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


def test_mean_of_a_batch_is_accumulated_in_double():
    batch = torch.full((1000, 1, 1, 1), 0.1) + 1000
    assert baselines.mean_of(batch).dtype == torch.float32
    torch.testing.assert_close(baselines.mean_of(batch)[0], batch[0], rtol=0, atol=0)


def test_medoid_is_the_row_with_the_least_summed_distance():
    rows = torch.randn(20, 6, generator=torch.Generator().manual_seed(1))
    unit = rows / rows.norm(dim=1, keepdim=True)
    distances = 1 - unit @ unit.T
    assert baselines.medoid(rows) == int(distances.sum(1).argmin())
    assert baselines.medoid(torch.ones(3, 4)) == 0
