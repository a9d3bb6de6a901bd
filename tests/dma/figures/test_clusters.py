import pytest
import torch
from blobs import blobs

from mental_averages.dma import figures
from mental_averages.dma.clustering import ClusterSettings, cluster


def test_clusters_are_shown_and_plotted():
    values, truth = blobs((6, 4, 1), dimensions=3)
    found = cluster(values, ClusterSettings(3, 3, small_clusters="leave out"))
    assert found.left_out
    colours = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]])
    images = colours[truth][:, None, None, :].expand(11, 8, 8, 3)
    sheet = figures.contact_sheet(images, found, cell=32)[0]
    assert [(sheet == colour).all(-1).sum().item() for colour in colours] == [6 * 32 * 32, 4 * 32 * 32, 32 * 32]
    below = [torch.nonzero((sheet == colour).all(-1))[:, 0].min().item() for colour in colours]
    assert below == sorted(below)
    for image in (figures.scatter_plot(found, 512), figures.bic_curve(found, 512)):
        assert image.shape[0] == 1 and image.shape[2:] == (512, 3) and image.min() < 0.5 and image.max() == 1
    one_dimension = cluster(values[:, :1], ClusterSettings(1, 2))
    assert figures.scatter_plot(one_dimension, 512).shape[2] == 512
    with pytest.raises(ValueError, match="of 11 pictures, but these are 3"):
        figures.contact_sheet(images[:3], found)
