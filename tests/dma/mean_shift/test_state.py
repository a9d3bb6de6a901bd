from dataclasses import replace

import torch
from memory import Memory
from toys import sigmas
from two_modes import TwoModes

from mental_averages.dma.execution import BatchSize, Checkpoint, resumed
from mental_averages.dma.mean_shift import MeanShiftSettings, MeanShiftState, first_predictions, mean_shift
from mental_averages.dma.statistics import MomentTree, PairedMoments

SHAPE, LEVELS = (2, 3, 3), sigmas(8)
SETTINGS = MeanShiftSettings(count=48, averaged_steps=3, seed=5)


def test_it_goes_on_in_the_middle_of_a_level():
    memory = Memory()
    expected = mean_shift(TwoModes(), LEVELS, SHAPE, SETTINGS, batch=BatchSize(19),
                          watchers=[Checkpoint(memory, seconds=-1)])
    for tensors, meta in memory.saves:
        place = Memory()
        place.save(tensors, meta)
        found = mean_shift(TwoModes(), LEVELS, SHAPE, SETTINGS, batch=BatchSize(19),
                           state=resumed(MeanShiftState.unpacked, place))
        assert torch.equal(found.latents, expected.latents) and found.report.levels == expected.report.levels
        assert torch.equal(found.spread, expected.spread)


def test_a_new_state_is_packed_and_unpacked():
    assert MeanShiftState.unpacked(*MeanShiftState().packed()).packed() == MeanShiftState().packed()


def test_a_level_of_one_noise_has_no_error_and_no_variance():
    state = MeanShiftState()
    state.moments.update(torch.ones(1, *SHAPE))
    state.close_level(3.0)
    (level,) = state.records
    assert (level.count, level.mean_error, level.spread, level.moved) == (1, None, 0, None)
    assert not state.variance.any() and not state.moments.count and torch.equal(state.mean, torch.ones(1, *SHAPE))


def test_a_first_level_that_was_taken_elsewhere_is_gone_on_from():
    """Over as many noises as it was, whatever the other levels take."""
    sigma = LEVELS[0].item()
    values = first_predictions(TwoModes(), sigma=sigma, count=48, shape=SHAPE, seed=5)
    tree = MomentTree(PairedMoments)
    for first in range(0, 48, 16):
        tree.update(values(slice(first, first + 16))["predictions"])
    expected = mean_shift(TwoModes(), LEVELS, SHAPE, SETTINGS, batch=BatchSize(16))
    found = mean_shift(TwoModes(), LEVELS, SHAPE, SETTINGS, batch=BatchSize(16),
                       state=MeanShiftState.of_first_mean(tree.moments(), sigma))
    torch.testing.assert_close(found.latents, expected.latents)
    assert found.report.levels[0].count == 48
    fewer = mean_shift(TwoModes(), LEVELS, SHAPE, replace(SETTINGS, count=16), batch=BatchSize(16),
                       state=MeanShiftState.of_first_mean(tree.moments(), sigma))
    assert [level.count for level in fewer.report.levels] == [48, 16, 16]
