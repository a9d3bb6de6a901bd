import pytest
import torch

from mental_averages.dma import figures


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


def test_captions_and_title_are_written():
    rows = [torch.ones(1, 8, 8, 3), torch.ones(1, 8, 8, 3)]
    plain, captioned, other, titled = (
        figures.labelled_sheet(rows, captions, title=title, cell=32)
        for captions, title in (([], ""), (["a", "b"], ""), (["a", "c"], ""), ([], "a title")))
    assert plain.min() == 1 and captioned.min() < 0.5 and titled.min() < 0.5
    assert captioned.shape == other.shape and not torch.equal(captioned, other)
    assert titled.shape[1] > plain.shape[1]
    long = figures.labelled_sheet(rows, ["many words that need more than one line"], cell=32)
    assert long.shape[2] < 32 * 4, "captions are wrapped to twice the height of a picture"


def test_values_beyond_the_range_are_cut():
    sheet = figures.labelled_sheet([torch.tensor([-3.0, 0.5, 7.0]).expand(1, 16, 16, 3)], [], cell=16)
    assert sheet.ndim == 4 and sheet.shape[3] == 3 and sheet.isfinite().all() and 0 <= sheet.min() and sheet.max() == 1
    found = (sheet[0] - torch.tensor([0.0, 128 / 255, 1.0])).abs().amax(-1) < 1e-6
    assert found.sum() == 16 * 16


def test_nothing_to_lay_out():
    with pytest.raises(ValueError, match="no pictures"):
        figures.labelled_sheet([], [])
