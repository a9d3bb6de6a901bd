import math

import pytest
import torch

from mental_averages.dma.mean_shift._tree_meeting import COLUMNS, ROWS, led


def plainly(points, radius):
    """The leaders by all distances, one by one."""
    apart, leaders = torch.cdist(points.flatten(1).double(), points.flatten(1).double(),
                                 compute_mode="donot_use_mm_for_euclid_dist"), torch.arange(len(points))
    for point in range(len(points)):
        leaders[point] = next(before for before in range(point + 1) if before == point or (
            leaders[before] == before and apart[point, before] <= radius))
    kept = leaders.unique()
    return leaders, apart[kept][:, kept][~torch.eye(len(kept), dtype=torch.bool)]


def groups(count, size, *, spread, offset=0.0, seed=0):
    """Points around a few places, far from the origin if there is an offset."""
    generator = torch.Generator().manual_seed(seed)
    middle = torch.randn(7, size, generator=generator)
    own = torch.randint(7, (count,), generator=generator)
    return offset + middle[own] + spread * torch.randn(count, size, generator=generator)


def test_points_near_a_leader_follow_it_and_chains_do_not():
    points = torch.tensor([[0.0], [0.9], [1.8], [5.0]])
    assert led(points, 1.0)[0].tolist() == [0, 0, 2, 3]
    assert led(points, 0.5)[0].tolist() == [0, 1, 2, 3]
    assert led(torch.ones(4, 2), 0.0)[0].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("radius", [0.0, 0.5, 1.4, 2.0, 8.0, 1e6])
@pytest.mark.parametrize("count, size", [(1, 5), (40, 3), (ROWS + 44, 20), (30, COLUMNS + 100)])
def test_leaders_are_those_of_all_distances(count, size, radius, offset):
    points = groups(count, size, spread=0.3, offset=offset)
    leaders, apart = led(points, radius)
    expected, distances = plainly(points, radius)
    assert torch.equal(leaders, expected)
    assert not len(distances) or radius < apart <= distances.min() * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_only_pairs_of_which_one_has_moved_are_compared_and_leaders_are_the_same(seed):
    generator = torch.Generator().manual_seed(seed)
    points, apart, radius = groups(ROWS + 30, 6, spread=0.3, seed=seed), 0.0, 1.0
    moved = torch.ones(len(points), dtype=torch.bool)
    for _ in range(6):
        leaders, apart = led(points, radius, moved=moved, apart=apart)
        expected, distances = plainly(points, radius)
        assert torch.equal(leaders, expected) and radius < apart <= distances.min() * (1 + 1e-9)
        points = points[leaders.unique()]
        moved = torch.rand(len(points), generator=generator) < 0.1
        points[moved] += torch.randn(int(moved.sum()), 6, generator=generator)
        radius *= 0.9 + 0.25 * torch.rand(1, generator=generator).item()  # may rise, and then all are compared


def test_points_that_stay_are_left_alone():
    points = torch.tensor([[0.0], [0.5], [9.0]])
    leaders, apart = led(points, 1.0, moved=torch.tensor([False, False, True]), apart=2.0)
    assert leaders.tolist() == [0, 1, 2] and apart == 2.0, "what was said of the first two was believed"
    assert led(points, 1.0, moved=torch.zeros(3, dtype=torch.bool), apart=1.0)[0].tolist() == [0, 0, 2]


def test_a_single_point_is_apart_from_all():
    assert led(torch.zeros(1, 4), 1.0)[1] == math.inf
