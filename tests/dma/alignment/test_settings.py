import dataclasses

import pytest
from toys import LinearGaussian, sigmas

from mental_averages.dma.alignment import AlignmentSettings, align
from mental_averages.dma.solvers import Adam

SHAPE = (2, 3, 3)
SETTINGS = AlignmentSettings(count=9, aligned_steps=2, keep=9, seed=3,
                             solver=Adam(learning_rate=0.05, iterations=1500, tolerance=0.0))


@pytest.mark.parametrize("change, message", [
    (dict(count=0), "count is 0"), (dict(aligned_steps=9), "only 8 steps"), (dict(aligned_steps=-1), "aligned_steps"),
    (dict(keep=0), "keep is 0"), (dict(target_updates=0), "target_updates"),
    (dict(restored_noise=1.5), "restored_noise"), (dict(carried=-1), "carried"),
])
def test_settings_that_make_no_sense(change, message):
    with pytest.raises(ValueError, match=message):
        align(LinearGaussian(), sigmas(8), SHAPE, dataclasses.replace(SETTINGS, **change))


@pytest.mark.parametrize("change, message", [(dict(own_noise=-0.1), "own_noise is -0.1"),
                                             (dict(mean_error=-1.0), "mean_error is -1.0")])
def test_shares_and_errors_that_make_no_sense(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SETTINGS, **change).check(8)


@pytest.mark.parametrize("change, moving", [
    (dict(), 20), (dict(carried=5), 5), (dict(carried=2), 3), (dict(carried=99), 20), (dict(own_noise=0.0), 1),
    (dict(aligned_steps=0), 3), (dict(aligned_steps=0, own_noise=0.0), 3), (dict(aligned_steps=0, keep=99), 20)])
def test_how_many_latents_go_on_after_the_first_mean(change, moving):
    assert dataclasses.replace(AlignmentSettings(count=20, keep=3), **change).moving == moving
