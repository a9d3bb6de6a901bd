"""Centres against those that are known."""
import torch
from blobs import blobs
from peak_memory import largest_made_by

from mental_averages.dma.clustering import ClusterSettings
from mental_averages.dma.clustering._k_means import fit_centres, nearness


def test_centres_are_the_means_of_blobs():
    values, truth = blobs((14, 40))
    centres = fit_centres(values.double(), 2, ClusterSettings(2, 2, restarts=2))
    expected = torch.stack([values[truth == label].double().mean(0) for label in (0, 1)])
    found = nearness(centres, expected).argmax(1)
    torch.testing.assert_close(centres[found], expected)
    assert sorted(found.tolist()) == [0, 1]


def test_nearness_is_minus_the_squared_distance():
    centres, rows = torch.randn(3, 4), torch.randn(5, 4)
    torch.testing.assert_close(nearness(centres, rows), -torch.cdist(rows, centres).square(), rtol=1e-4, atol=1e-5)


def test_distances_of_many_pictures_are_not_held_by_coordinate():
    generator = torch.Generator().manual_seed(0)
    rows, centres = torch.randn(300, 200, generator=generator), torch.randn(30, 200, generator=generator)
    assert largest_made_by(lambda: nearness(centres, rows)) < 2 * rows.numel() * rows.element_size()
