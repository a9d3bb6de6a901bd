import torch
from hypothesis import given, settings as hypothesis_settings, strategies as st
from trainings import LEVELS, SHAPE

from mental_averages.dma import training


@hypothesis_settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 9), batch_size=st.integers(1, 12), seed=st.integers(0, 2**64 - 1))
def test_draws_depend_on_step_alone_and_use_all_latents_equally(count, batch_size, seed):
    settings = training.TrainingSettings(batch_size=batch_size, seed=seed)
    draws = [training.draw(settings, step, count, SHAPE, LEVELS) for step in range(count)]  # count * batch_size rows
    rows = torch.cat([found.rows for found in draws])
    assert torch.bincount(rows, minlength=count).tolist() == [batch_size] * count
    again = training.draw(settings, count - 1, count, SHAPE, LEVELS)
    assert all(torch.equal(one, other) for one, other in zip(again, draws[-1]))
    assert all(sigma in LEVELS for sigma in again.sigma)


def test_draws_are_standard_normal_and_uniform_over_the_table():
    settings = training.TrainingSettings(batch_size=4000, seed=1)
    found = training.draw(settings, 0, 7, SHAPE, LEVELS)
    assert abs(found.noise.mean()) < 0.01 and abs(found.noise.std() - 1) < 0.01
    counts = torch.bincount(torch.searchsorted(LEVELS, found.sigma - 1e-6), minlength=50)
    assert ((counts - 80).square() / 80).sum() < 85.4  # chi-square, 49 degrees of freedom, p = 0.001
    other = training.draw(settings, 1, 7, SHAPE, LEVELS)
    assert abs((found.noise * other.noise).mean()) < 0.01
