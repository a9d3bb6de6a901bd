from toys import LinearGaussian, sigmas

from mental_averages.dma.execution import BatchSize
from mental_averages.dma.mean_shift import MeanShiftMonitor, MeanShiftSettings, mean_shift

SHAPE, LEVELS = (2, 3, 3), sigmas(8)
SETTINGS = MeanShiftSettings(count=48, averaged_steps=3, seed=5)


def test_progress_rises_to_one():
    told = []
    mean_shift(LinearGaussian(), LEVELS, SHAPE, SETTINGS, batch=BatchSize(20),
               watchers=[MeanShiftMonitor(told.append, SETTINGS, 8)])
    fractions = [progress.fraction for progress in told]
    assert fractions == sorted(fractions) and fractions[-1] == 1 and fractions[0] < 0.2
    assert told[0].message.startswith("averaged level 1 of 3: 20 of at most 48 noises, error ")
    assert told[-1].message == "sampling the average" and told[0].preview.shape == (1, *SHAPE)
    assert told[-1].seconds_left == 0 and all(progress.seconds_left is not None for progress in told)
    assert not any(progress.at_most for progress in told), "every level takes all its noises"


def test_levels_that_need_fewer_noises_count_as_done():
    told, settings = [], MeanShiftSettings(count=400, averaged_steps=2, seed=5, mean_error=0.2)
    mean_shift(LinearGaussian(), LEVELS, SHAPE, settings, batch=BatchSize(16),
               watchers=[MeanShiftMonitor(told.append, settings, 8)])
    fractions = [progress.fraction for progress in told]
    assert fractions == sorted(fractions) and fractions[-1] == 1 and len(told) < 50
    assert told[0].at_most and not told[-1].at_most
