import dataclasses
import logging

import pytest
import torch
from peak_memory import largest_made_by
from pictures import check_picture

from mental_averages.dma import figures
from mental_averages.dma.clustering import ClusterSettings, cluster
from mental_averages.dma.figures import _sheet


@pytest.fixture(scope="module")
def blobs():
    """Embeddings (11, 3) of three clusters of 6, 4 and 1, shuffled, and their true labels."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor([6, 4, 1]))
    values = 12.0 * torch.eye(3)[labels] + torch.randn(11, 3, generator=generator)
    shuffled = torch.randperm(11, generator=generator)
    return values[shuffled], labels[shuffled]


@pytest.fixture(scope="module")
def found(blobs):
    return cluster(blobs[0], ClusterSettings(3, 3, small_clusters="leave out"))


def test_sheet_shows_each_picture_once_in_the_row_of_its_cluster(blobs, found):
    assert found.left_out
    colours = torch.eye(3)
    images = colours[blobs[1]][:, None, None, :].expand(11, 8, 8, 3)
    sheet = figures.contact_sheet(images, found, cell=32)[0]
    assert [(sheet == colour).all(-1).sum().item() for colour in colours] == [6 * 32 * 32, 4 * 32 * 32, 32 * 32]
    below = [torch.nonzero((sheet == colour).all(-1))[:, 0].min().item() for colour in colours]
    assert below == sorted(below)
    cut = figures.contact_sheet(images, found, cell=32, columns=2)[0]
    assert [(cut == colour).all(-1).sum().item() for colour in colours] == [2 * 32 * 32, 2 * 32 * 32, 32 * 32]


def test_of_a_large_batch_only_what_is_shown_is_copied(blobs, found):
    images = torch.rand(11, 256, 256, 3, generator=torch.Generator().manual_seed(0))
    most = largest_made_by(lambda: figures.contact_sheet(images, found, cell=16, columns=2))
    assert most < images.element_size() * images.numel() / 3


def test_a_sheet_that_would_be_too_large_shows_smaller_pictures(found, monkeypatch, caplog):
    """It comes after all the work, which must not be lost with it."""
    monkeypatch.setattr(_sheet, "MOST_PIXELS", 2**17)
    with caplog.at_level(logging.INFO):
        sheet = figures.contact_sheet(torch.rand(11, 9, 16, 3), found, cell=256)[0]
    assert 2**14 < sheet.shape[0] * sheet.shape[1] <= 2**17 and "instead of 256" in caplog.text


def test_pictures_of_others_are_refused(found):
    with pytest.raises(ValueError, match="of 11 pictures, but these are 3"):
        figures.contact_sheet(torch.zeros(3, 8, 8, 3), found)


def test_transparency_is_left_out(blobs, found):
    images = torch.rand(11, 8, 8, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(figures.contact_sheet(images, found, cell=32),
                       figures.contact_sheet(images[..., :3], found, cell=32))


@pytest.mark.parametrize("draw", [figures.scatter_plot, figures.bic_curve])
def test_plots(found, draw):
    check_picture(image := draw(found, width=512), 512)
    assert image.max() == 1


def test_other_clusters_look_different(found):
    moved = dataclasses.replace(found, coordinates=found.coordinates.flip(0))
    assert not torch.equal(figures.scatter_plot(found), figures.scatter_plot(moved))
    together = dataclasses.replace(found, labels=found.labels.clamp_min(0))
    assert not torch.equal(figures.scatter_plot(found), figures.scatter_plot(together))
    others = dataclasses.replace(found, bic=((1, 9.0), (2, 3.0), (3, 5.0)))
    lowest = dataclasses.replace(found, bic=((1, 9.0), (2, 3.0), (3, 2.0)))
    assert not torch.equal(figures.bic_curve(others), figures.bic_curve(lowest))


def test_one_dimension_and_one_number_of_components(blobs):
    line = cluster(blobs[0][:, :1], ClusterSettings(1, 2))
    check_picture(figures.scatter_plot(line, width=512), 512)
    check_picture(figures.bic_curve(cluster(blobs[0], ClusterSettings(2, 2)), width=512), 512)


def test_clusters_without_a_mixture_have_no_curve(found):
    with pytest.raises(ValueError, match="no BIC"):
        figures.bic_curve(dataclasses.replace(found, bic=()))
