import torch

from mental_averages.dma.execution import RunState
from mental_averages.dma.mean_shift import TreeState
from mental_averages.dma.mean_shift._tree_state import Flows, by_size, components


def test_points_within_the_radius_of_a_chain_are_one_group():
    points = torch.tensor([[0.0], [0.9], [1.8], [5.0]])
    assert components(points, 1.0).tolist() == [0, 0, 0, 1]
    assert components(points, 0.5).unique().tolist() == [0, 1, 2, 3]


def test_the_largest_group_is_the_first_and_between_equals_that_of_the_earlier_sample():
    labels = torch.tensor([2, 0, 0, 1, 2, 3])
    assert by_size(labels)[labels].tolist() == [0, 1, 1, 2, 0, 3]


def test_what_is_left_of_a_way_follows_from_how_moves_shrink():
    flows = Flows.of(torch.zeros(2, 1, 1, 1))
    error = torch.full((2,), 0.01, dtype=torch.float64)
    every = torch.arange(2)
    flows.move(every, torch.tensor([8.0, 1.0]).view(2, 1, 1, 1), error)
    assert flows.left.isinf().all() and flows.moving.tolist() == [0, 1]
    flows.move(every, torch.tensor([12.0, 1.0]).view(2, 1, 1, 1), error)  # half of the way before; none at all
    assert flows.left.tolist() == [4.0, 0.0] and flows.moving.tolist() == [0]
    flows.move(flows.moving, torch.tensor([20.0]).view(1, 1, 1, 1), error[:1])  # farther than before
    assert flows.left[0].isinf() and flows.iteration == 3


def test_a_state_is_kept_on_disk_at_any_time(tmp_path):
    place = RunState(tmp_path, "tree", torch.ones(3))
    state = TreeState.of(torch.randn(3, 2, 1, 1, generator=torch.Generator().manual_seed(0)))
    assert place.save(*state.packed())
    again = TreeState.unpacked(*place.load())
    assert again.flows.left.isinf().all() and torch.equal(again.flows.points, state.flows.points)
    state.close_level(3, 0.5)
    assert place.save(*state.packed()) and len(TreeState.unpacked(*place.load()).levels) == 1


def test_many_points_that_are_all_different_are_groups_of_their_own():
    points = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    assert len(components(points, 0.0).unique()) == 40


def test_a_packed_state_comes_back():
    state = TreeState.of(torch.randn(4, 2, 1, 1, generator=torch.Generator().manual_seed(0)))
    state.flows.move(torch.arange(4), state.flows.points.clone(), torch.ones(4, dtype=torch.float64))
    state.close_level(3, 0.5)
    again = TreeState.unpacked(*state.packed())
    assert torch.equal(again.labels, state.labels) and torch.equal(again.flows.points, state.flows.points)
    assert again.flows.iteration == 0 and again.levels[0].step == 3 and again.levels[0].sizes == state.levels[0].sizes
