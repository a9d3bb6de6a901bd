import torch
from memory import Memory
from ray_toys import FEATURES
from toys import LinearGaussian

from mental_averages.dma.distributed import MeanState, map_moments
from mental_averages.dma.execution import BatchSize, Checkpoint, Clock, drive, resumed
from mental_averages.dma.statistics import PairedMoments


def run(state, watchers=()):
    denoiser = LinearGaussian()
    drive(map_moments(denoiser, FEATURES, 32, 150, batch=BatchSize(16), kinds={"noise": PairedMoments},
                      trees=state.trees), state, [Clock(), *watchers])
    return denoiser.feature_rows


def test_a_state_that_was_saved_at_any_time_is_gone_on_from():
    place, whole = Memory(), MeanState()
    run(whole, [Checkpoint(place, seconds=-1)])
    assert len(place.saves) == 8 and whole.seconds > 0 and whole.pace["mean"][1] == 118
    for number in range(8):
        earlier = Memory()
        earlier.saves = place.saves[: number + 1]
        state = resumed(MeanState.unpacked, earlier)
        assert run(state) == max(0, 118 - 16 * (number + 1))
        for name, tree in whole.trees.items():
            found = state.trees[name]
            assert (found.start, found.stop, found.kind) == (32, 150, tree.kind)
            assert torch.equal(found.moments().mean, tree.moments().mean)
