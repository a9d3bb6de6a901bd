"""Centres against those that are known."""
import torch
from blobs import blobs

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
