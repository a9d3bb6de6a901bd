import pytest
import torch
from peak_memory import largest_made_by

from mental_averages.dma.execution import RunState
from mental_averages.dma.mean_shift import TreeState
from mental_averages.dma.mean_shift._tree_state import Flows, by_size


def test_the_largest_group_is_the_first_and_between_equals_that_of_the_earlier_sample():
    labels = torch.tensor([2, 0, 0, 1, 2, 3])
    assert by_size(labels)[labels].tolist() == [0, 1, 1, 2, 0, 3]


def flows_of(*numbers):
    return Flows.of(torch.tensor(numbers).view(-1, 1, 1, 1))


def moved(flows, moving, *means, error=0.01):
    asked = flows.asked(moving)
    flows.move(moving, asked, torch.tensor(means).view(-1, 1, 1, 1), torch.full((len(means),), error).double())
    return asked.flatten().tolist()


def test_flows_gather_momentum_and_lose_it_where_the_mean_points_back():
    flows, every = flows_of(0.0, 0.0), torch.arange(2)
    assert moved(flows, every, 8.0, 8.0) == [0.0, 0.0]
    assert moved(flows, every, 12.0, 12.0) == [10.0, 10.0]  # a quarter of the last move ahead
    asked = moved(flows, every, 14.0, 12.5)
    assert asked == pytest.approx([13.6, 13.6]) and flows.age.tolist() == [3, 0]  # 12.5 lies behind 13.6
    assert flows.asked(every).flatten().tolist() == pytest.approx([14 + 0.5 * 2, 12.5])
    assert flows.pace.tolist() == pytest.approx([0.4, 1.1], abs=1e-5) and flows.iteration == 3


def test_a_flow_stands_still_when_at_its_pace_it_would_not_go_half_of_the_radius():
    flows, every = flows_of(0.0, 0.0), torch.arange(2)
    assert flows.moving(10).tolist() == [0, 1]
    moved(flows, every, 1.0, 0.04, error=1.0)
    assert flows.radius == 1.0 and flows.moving(10).tolist() == [0] and flows.moving(20).tolist() == [0, 1]


def test_flows_that_have_met_are_one_and_the_largest_comes_first():
    state = TreeState.of(torch.tensor([0.0, 3.0, 3.5, 9.0]).view(-1, 1, 1, 1))
    moved(state.flows, torch.arange(4), 0.0, 3.0, 3.5, 9.0, error=1.0)
    state.join(torch.arange(4))
    assert state.labels.tolist() == [1, 0, 0, 2] and state.flows.points.flatten().tolist() == [3.0, 0.0, 9.0]
    moved(state.flows, torch.arange(3), 8.5, 0.0, 9.0, error=1.0)
    state.join(torch.arange(3))
    assert state.labels.tolist() == [1, 0, 0, 0] and state.flows.points.flatten().tolist() == [8.5, 0.0]


def test_a_state_is_kept_on_disk_at_any_time(tmp_path):
    place = RunState(tmp_path, "tree", torch.ones(3))
    state = TreeState.of(torch.randn(3, 2, 1, 1, generator=torch.Generator().manual_seed(0)))
    assert place.save(*state.packed())
    again = TreeState.unpacked(*place.load())
    assert again.flows.pace.isinf().all() and torch.equal(again.flows.points, state.flows.points) and not again.move
    move = state.begin_move(torch.tensor([2, 0]), 4)
    for done in range(1, 9):
        move.add(torch.full((1, 2, 1, 1), float(done)))
        assert place.save(*state.packed())
        found = TreeState.unpacked(*place.load()).move
        assert torch.equal(found.asked, move.asked) and torch.equal(found.total, move.total)
        assert torch.equal(found.means, move.means) and torch.equal(found.errors, move.errors)
        assert found.done == done and found.moving.tolist() == [2, 0]
    state.finish_move()
    assert state.flows.iteration == 1 and state.move is None
    state.close_level(3, 0.5, still=True)
    assert place.save(*state.packed()) and len(TreeState.unpacked(*place.load()).levels) == 1


def test_a_packed_state_comes_back():
    state = TreeState.of(100 * torch.randn(4, 2, 1, 1, generator=torch.Generator().manual_seed(0)))
    state.flows.move(torch.arange(4), state.flows.points, state.flows.points + 1, torch.ones(4, dtype=torch.float64))
    state.close_level(3, 0.5, still=True)
    again = TreeState.unpacked(*state.packed())
    assert torch.equal(again.labels, state.labels) and torch.equal(again.flows.points, state.flows.points)
    assert again.flows.iteration == 0 and again.levels[0].step == 3 and again.levels[0].sizes == state.levels[0].sizes


def test_nothing_is_copied_to_be_packed(monkeypatch):
    """The flows, and all modes of all levels, were at every save."""
    state = TreeState.of(torch.rand(4, 2, 64, 64, generator=torch.Generator().manual_seed(0)))
    state.close_level(3, 0.5, still=True)
    monkeypatch.setattr(torch.Tensor, "__deepcopy__", lambda *arguments: pytest.fail("a tensor was copied"))
    packed = []
    assert largest_made_by(lambda: packed.append(state.packed())) < state.flows.points.nbytes / 2
    assert packed[0][1]["levels"] == [{"step": 3, "sigma": 0.5, "iterations": 0, "error": 0.0, "still": True}]
