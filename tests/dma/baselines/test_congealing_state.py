"""Congealing goes on where it was interrupted."""
import pytest
import torch
from memory import Memory

from mental_averages.dma.baselines import CongealingSettings, CongealingState, aligned_mean
from mental_averages.dma.execution import BatchSize, Checkpoint, resumed

SETTINGS = CongealingSettings(similarity_rounds=2, flow_rounds=1, iterations=3, resolution=16)


def pictures(count=5):
    draw = torch.Generator().manual_seed(2)
    return torch.nn.functional.interpolate(torch.rand(count, 3, 5, 5, generator=draw), 20,
                                           mode="bilinear").permute(0, 2, 3, 1)


def test_it_goes_on_from_every_state_that_was_saved():
    memory = Memory()
    whole = aligned_mean(pictures(), SETTINGS, batch=BatchSize(2), watchers=[Checkpoint(memory, seconds=-1)])
    places = {(meta["rounds"], meta["done"]) for _, meta in memory.saves}
    assert places == {(0, 2), (0, 4), (0, 5), (1, 0), (1, 2), (1, 4), (1, 5), (2, 0), (2, 2), (2, 4), (2, 5), (3, 0)}
    for tensors, meta in memory.saves:
        place, moved = Memory(), []
        place.save(tensors, meta)
        state = resumed(CongealingState.unpacked, place)
        found = aligned_mean(pictures(), SETTINGS, batch=BatchSize(2), state=state,
                             watchers=[lambda event, state: moved.append(event.kind) if event.changed else None])
        assert torch.equal(found.mean, whole.mean) and torch.equal(found.aligned, whole.aligned)
        assert torch.equal(found.similarities, whole.similarities) and torch.equal(found.flows, whole.flows)
        assert (found.distance_before, found.distance_after) == (whole.distance_before, whole.distance_after)
        assert moved.count("align") == 3 * (3 - meta["rounds"]) - (meta["done"] + 1) // 2
    assert whole.flows.any() and whole.similarities.any()


def test_an_error_leaves_a_state_that_can_be_gone_on_from():
    whole, state = aligned_mean(pictures(), SETTINGS, batch=BatchSize(2)), CongealingState()

    class Stopped(Exception):
        pass

    def stop(event, state):
        if event.kind == "align" and event.changed and state.rounds == 1:
            raise Stopped

    with pytest.raises(Stopped):
        aligned_mean(pictures(), SETTINGS, batch=BatchSize(2), watchers=[stop], state=state)
    assert (state.rounds, state.done) == (1, 2)
    assert torch.equal(aligned_mean(pictures(), SETTINGS, batch=BatchSize(2), state=state).mean, whole.mean)


def test_a_new_state_is_packed_and_unpacked():
    tensors, meta = CongealingState.unpacked(*CongealingState().packed()).packed()
    assert meta == {"rounds": 0, "done": 0} and not any(map(len, tensors.values()))
