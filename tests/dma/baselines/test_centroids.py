"""Centroids of latents, where they are known."""
import pytest
import torch

from mental_averages.dma.baselines import kmeans_centroids, mean_of, minibatch_centroids

SHAPE = (2, 3, 3)
EITHER = pytest.mark.parametrize("centroids_of", [minibatch_centroids, kmeans_centroids])


def groups(*sizes, spread=0.01, distance=10.0):
    """Latents around as many far points as there are sizes, mixed, and the means of the groups."""
    generator = torch.Generator().manual_seed(5)
    centres = distance * torch.randn(len(sizes), *SHAPE, generator=generator)
    labels = torch.cat([torch.full((size,), group) for group, size in enumerate(sizes)])
    latents = centres[labels] + spread * torch.randn(len(labels), *SHAPE, generator=generator)
    means = torch.stack([latents[labels == group].mean(0) for group in range(len(sizes))])
    order = torch.randperm(len(labels), generator=generator)
    return latents[order], means


@EITHER
def test_one_centroid_is_the_mean_of_all_latents(centroids_of):
    latents = torch.randn(27, *SHAPE, generator=torch.Generator().manual_seed(0))  # batches of 10, 10 and 7
    found = centroids_of(latents)
    torch.testing.assert_close(found.means, mean_of(latents), rtol=0, atol=1e-6)
    assert found.counts == (27,)


@EITHER
def test_separated_groups_are_found_the_largest_first(centroids_of):
    latents, means = groups(12, 40, 25)
    found = centroids_of(latents, 3)
    assert found.counts == (40, 25, 12)
    torch.testing.assert_close(found.means, means[[1, 2, 0]], rtol=0, atol=0.02)
    again = centroids_of(latents, 3)
    assert torch.equal(found.means, again.means)


def test_k_means_finds_the_means_of_the_groups():
    latents, means = groups(12, 40, 25)
    torch.testing.assert_close(kmeans_centroids(latents, 3).means, means[[1, 2, 0]], rtol=0, atol=1e-4)


@EITHER
def test_latents_that_have_no_such_centroids_are_refused(centroids_of):
    with pytest.raises(ValueError, match="3 centroids need at least as many different latents, but there are 2"):
        centroids_of(torch.ones(5, *SHAPE) * torch.tensor([0, 1, 0, 1, 1])[:, None, None, None], 3)
    with pytest.raises(ValueError, match="NaN"):
        centroids_of(torch.full((4, *SHAPE), float("nan")))
    with pytest.raises(ValueError, match="at least 1"):
        centroids_of(torch.rand(4, *SHAPE), 0)
    with pytest.raises(ValueError, match="four dimensions"):
        centroids_of(torch.rand(4, 8))
