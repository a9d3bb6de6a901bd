import pytest
import torch

from mental_averages.dma import figures
from mental_averages.dma.alignment import AlignedStep, AlignmentReport


def test_plot_has_the_asked_width_and_something_on_it():
    step = AlignedStep(3.0, 0.1, [0.5, 0.4], [0.0, 0.02], [5, 6], 0.3, 0.9)
    image = figures.plot_alignment(AlignmentReport({}, 1.0, [step, step]), width=640)
    assert image.shape[0] == 1 and image.shape[2:] == (640, 3)
    assert 0 <= image.min() < 0.5 and image.max() == 1 and image.mean() < 0.99


def test_plot_tells_the_gradient_self_test():
    step = AlignedStep(3.0, 0.1, [0.5, 0.4], [0.0, 0.02], [5, 6], 0.3, 0.9)
    without, low, high = (figures.plot_alignment(AlignmentReport(settings, 1.0, [step]), width=640)
                          for settings in ({}, {"gradient_error": 1e-5}, {"gradient_error": 3e-2}))
    assert not torch.equal(without, low) and not torch.equal(low, high)


def test_plot_without_steps_says_so():
    with pytest.raises(ValueError, match="no aligned steps"):
        figures.plot_alignment(AlignmentReport({}, 1.0, []))


def test_sheet_places_every_picture_once():
    colours = torch.eye(3)
    rows = [colours[:, None, None, :].expand(3, 20, 20, 3), torch.zeros(1, 20, 40, 3)]
    sheet = figures.labelled_sheet(rows, ["three colours"], title="title", cell=40, columns=8)[0]
    flat = sheet.reshape(-1, 3)
    for colour in colours:
        assert (flat == colour).all(1).sum() == 40 * 40
    assert (flat == 0).all(1).sum() == 40 * 80


def test_long_rows_are_cut_and_say_so():
    wide = figures.labelled_sheet([torch.zeros(9, 8, 8, 3)], ["x"], cell=32, columns=9)
    cut = figures.labelled_sheet([torch.zeros(9, 8, 8, 3)], ["x"], cell=32, columns=3)
    assert cut.shape[2] < wide.shape[2]
    assert (cut[0].reshape(-1, 3) == 0).all(1).sum() >= 3 * 32 * 32
