import json

import pytest
import torch
from blobs import agreement, blobs
from hypothesis import given, settings, strategies as st
from threads import threads

from mental_averages.dma import clustering
from mental_averages.dma.clustering import ClusterSettings, cluster


@pytest.mark.parametrize("covariance", clustering.COVARIANCES)
def test_well_separated_blobs_are_found_exactly_and_ordered_by_size(covariance):
    values, truth = blobs((14, 40, 26))
    found = cluster(values, ClusterSettings(3, 3, dimensions=4, covariance=covariance, restarts=3))
    assert agreement(truth, found.labels) == 1
    assert [share.count for share in found.shares] == [40, 26, 14]
    assert (found.labels == 0).sum() == 40 and found.left_out == ()
    torch.testing.assert_close(found.responsibilities.sum(1), torch.ones(80, dtype=torch.float64))
    assert torch.equal(found.responsibilities.argmax(1), found.labels)
    for index, members in enumerate(found.members):
        assert sorted(members) == torch.nonzero(found.labels == index).flatten().tolist()
        assert found.representatives(index, 2) == members[:2]


@pytest.mark.parametrize("sizes", [(30,), (20, 20), (12, 25, 18), (15,) * 5])
def test_bic_finds_the_true_number(sizes):
    values, truth = blobs(sizes, seed=len(sizes))
    found = cluster(values, ClusterSettings(1, 7, restarts=2))
    assert len(found.members) == len(sizes) and agreement(truth, found.labels) == 1
    assert [count for count, _ in found.bic] == list(range(1, 8))


def test_members_are_ordered_by_density():
    """One spherical Gaussian: the densest picture is the one nearest to the mean."""
    values, _ = blobs((25,))
    found = cluster(values, ClusterSettings(1, 1, dimensions=8, covariance="spherical"))
    distances = (found.coordinates - found.coordinates.mean(0)).norm(dim=1)
    assert list(found.members[0]) == distances.argsort().tolist()


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000))
def test_any_order_of_the_same_pictures_gives_the_same_partition(seed):
    values, _ = blobs((9, 8, 4), separation=3.0, seed=1)  # overlapping, so that the start matters
    permutation = torch.randperm(len(values), generator=torch.Generator().manual_seed(seed))
    options = ClusterSettings(2, 3, restarts=1)
    found, again, permuted = cluster(values, options), cluster(values, options), cluster(values[permutation], options)
    assert found.to_json() == again.to_json()
    assert torch.equal(permuted.labels, found.labels[permutation])
    assert torch.equal(permuted.responsibilities, found.responsibilities[permutation])
    assert ([[int(permutation[row]) for row in members] for members in permuted.members]
            == [list(row) for row in found.members])


def test_number_of_threads_does_not_matter():
    values, _ = blobs((30, 30, 20), dimensions=32, separation=3.0)
    results = []
    for count in (1, 2):
        with threads(count):
            results.append(cluster(values, ClusterSettings(3, 3, restarts=1)).to_json())
    assert results[0] == results[1]


def test_scale_and_shift_of_the_embeddings_do_not_matter():
    values, _ = blobs((12, 8, 6), separation=4.0)
    options = ClusterSettings(1, 4, restarts=2)
    assert torch.equal(cluster(values, options).labels, cluster(1e-3 * values + 5, options).labels)


def test_small_clusters_merge_or_are_left_out():
    values, truth = blobs((20, 15, 3), dimensions=4)
    merged = cluster(values, ClusterSettings(3, 3, minimum_size=5, restarts=3))
    assert len(merged.members) == 2 and sum(share.count for share in merged.shares) == 38
    torch.testing.assert_close(merged.responsibilities.sum(1), torch.ones(38, dtype=torch.float64))
    assert agreement(truth[truth < 2], merged.labels[truth < 2]) == 1
    left = cluster(values, ClusterSettings(3, 3, minimum_size=5, small_clusters="leave out", restarts=3))
    assert [share.count for share in left.shares] == [20, 15]
    assert sorted(left.left_out) == torch.nonzero(truth == 2).flatten().tolist()
    assert left.responsibilities[truth == 2].sum() < 1e-6 and left.shares[0].share == pytest.approx(20 / 38)
    assert len(cluster(values, ClusterSettings(3, 3, minimum_size=38)).members) == 1
    with pytest.raises(ValueError, match="None of 3 clusters has 38 pictures"):
        cluster(values, ClusterSettings(3, 3, minimum_size=38, small_clusters="leave out"))


def test_equal_pictures_are_in_one_cluster():
    values, _ = blobs((10, 6), separation=3.0)
    found = cluster(torch.cat([values, values]), ClusterSettings(2, 2, restarts=2))
    assert torch.equal(found.labels[:16], found.labels[16:])
    torch.testing.assert_close(found.responsibilities[:16], found.responsibilities[16:])


@pytest.mark.parametrize("values, change, message", [
    (torch.zeros(1, 4), {}, "at least two pictures, but there is 1"),
    (torch.zeros(0, 4), {}, "at least two pictures, but there is 0"),
    (torch.ones(20, 4), {}, "All 20 pictures have the same embedding"),
    (torch.ones(20, 4) + 1e-7 * torch.eye(20, 4), {}, "All 20 pictures have the same embedding"),
    (torch.randn(5, 4), dict(smallest_count=6, largest_count=6),
     "6 clusters need at least as many pictures, but there are 5"),
    (torch.eye(4).repeat(3, 1), dict(largest_count=5), "only 4 of 12 embeddings differ"),
    (torch.full((9, 4), float("nan")), {}, "embedding of 9 of 9 pictures contains NaN"),
    (torch.tensor([[0.0], [float("inf")], [1.0]]), dict(largest_count=2), r"first: picture 1\)"),
    (torch.randn(9, 4), dict(minimum_size=10), "only 9 pictures: lower it"),
    (torch.randn(9, 4, 4), {}, r"shape \(N, D\)"),
])
def test_bad_embeddings(values, change, message):
    with pytest.raises(ValueError, match=message):
        cluster(values, ClusterSettings(**change))


def test_json_holds_everything():
    values, _ = blobs((6, 4))
    found = cluster(values, ClusterSettings(1, 3))
    data = json.loads(found.to_json())
    assert data["format"] == found.FORMAT and data["labels"] == found.labels.tolist() and data["pictures"] == 10
    assert [entry["count"] for entry in data["clusters"]] == [6, 4] and len(data["bic"]) == 3
    assert data["settings"]["covariance"] == "diag" and len(data["responsibilities"]) == 10


def test_k_means_finds_blobs_and_orders_members_by_distance():
    values, truth = blobs((14, 40, 26))
    found = cluster(values, ClusterSettings(3, 3, dimensions=4, restarts=3, method="k-means"))
    assert agreement(truth, found.labels) == 1 and found.bic == ()
    assert [share.count for share in found.shares] == [40, 26, 14]
    assert torch.equal(found.responsibilities, torch.nn.functional.one_hot(found.labels, 3).double())
    for members in found.members:
        rows = found.coordinates[list(members)]
        distances = (rows - rows.mean(0)).norm(dim=1)
        assert (distances.diff() > -1e-6).all()
    assert json.loads(found.to_json())["settings"]["method"] == "k-means"


def test_small_clusters_of_k_means_are_merged_or_left_out():
    values, truth = blobs((20, 15, 1))
    alone = int(torch.nonzero(truth == 2))
    merged, left_out = (cluster(values, ClusterSettings(3, 3, minimum_size=2, small_clusters=way, method="k-means"))
                        for way in ("merge", "leave out"))
    assert len(merged.members) == 2 and merged.labels[alone] >= 0
    assert torch.equal(merged.responsibilities.sum(1), torch.ones(36, dtype=torch.float64))
    assert left_out.left_out == (alone,) and left_out.responsibilities[alone].sum() == 0


def test_any_order_gives_the_same_centres():
    values, _ = blobs((9, 8, 4), separation=3.0, seed=1)
    permutation = torch.randperm(len(values), generator=torch.Generator().manual_seed(3))
    options = ClusterSettings(3, 3, restarts=1, method="k-means")
    assert torch.equal(cluster(values[permutation], options).labels, cluster(values, options).labels[permutation])


def test_each_mixture_that_is_fitted_is_told_of():
    values, _ = blobs((14, 40, 26))
    heard = []
    found = cluster(values, ClusterSettings(2, 4, restarts=10), watchers=[lambda event, state: heard.append(event)])
    # Ten starts of each number of components, and its end.
    assert [(event.kind, event.rows, event.iteration) for event in heard] == 3 * [
        ("fit", 3, start) for start in (*range(1, 11), 0)]
    places = [event.row + event.under_way for event in heard]
    assert places == pytest.approx([place / 11 for place in range(1, 34)])
    assert found.to_json() == cluster(values, ClusterSettings(2, 4, restarts=10)).to_json()
