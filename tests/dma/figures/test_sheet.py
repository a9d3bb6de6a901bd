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


@pytest.mark.parametrize("width, title", [(8, ""), (16, "a title")])
def test_headings_stand_over_their_columns(width, title):
    rows = [torch.full((3, 8, width, 3), 0.5), torch.full((1, 8, width, 3), 0.5)]
    sheet = figures.labelled_sheet(rows, ["one", "two"], title=title, cell=64, columns=3,
                                   headings=["a", "two lines of a heading", "c", "of no column"])[0]
    plain = figures.labelled_sheet(rows, ["one", "two"], title=title, cell=64, columns=3)[0]
    added = len(sheet) - len(plain)
    assert added >= 30 and torch.equal(sheet[-140:], plain[-140:]), "two lines, and rows as they were"
    pictures = (plain == 128 / 255).all(-1).sum(0) > 64  # columns of the sheet in which both rows have a picture
    first = int(pictures.nonzero()[0])
    top = int((sheet == 128 / 255).all(-1).any(1).nonzero()[0])
    for column in range(3):
        left = first + column * (64 * width // 8 + 10)
        written = (sheet[top - added : top, left - 5 : left + 64 * width // 8 + 5] < 0.5).any(-1).any(0).nonzero()
        middle = float(written.min() + written.max()) / 2 - 5
        assert abs(middle - 32 * width / 8) < 4, "in the middle over its pictures"
    letters = (sheet[top - added : top, :first] < 0.5).sum()
    assert letters == 0, "none over the captions"


def test_values_beyond_the_range_are_cut():
    sheet = figures.labelled_sheet([torch.tensor([-3.0, 0.5, 7.0]).expand(1, 16, 16, 3)], [], cell=16)
    assert sheet.ndim == 4 and sheet.shape[3] == 3 and sheet.isfinite().all() and 0 <= sheet.min() and sheet.max() == 1
    found = (sheet[0] - torch.tensor([0.0, 128 / 255, 1.0])).abs().amax(-1) < 1e-6
    assert found.sum() == 16 * 16


def test_nothing_to_lay_out():
    with pytest.raises(ValueError, match="no pictures"):
        figures.labelled_sheet([], [])


def test_grey_pictures_and_those_with_more_channels():
    grey = figures.labelled_sheet([torch.full((1, 8, 8, 1), 0.2)], [], cell=8)
    assert torch.equal(grey, figures.labelled_sheet([torch.full((1, 8, 8, 3), 0.2)], [], cell=8))
    see_through = torch.cat([torch.full((1, 8, 8, 3), 0.2), torch.zeros(1, 8, 8, 1)], dim=-1)
    assert torch.equal(grey, figures.labelled_sheet([see_through], [], cell=8))


@pytest.mark.parametrize("shape", [(0, 8, 8, 3), (1, 0, 8, 3), (8, 8, 3), (1, 8, 8, 2)])
def test_rows_that_are_no_pictures(shape):
    with pytest.raises(ValueError, match="with N at least 1, but row 2 is"):
        figures.labelled_sheet([torch.zeros(1, 8, 8, 3), torch.zeros(shape)], [])


def test_sizes_that_make_no_sheet():
    for sizes in (dict(columns=0), dict(cell=0), dict(columns=-1)):
        with pytest.raises(ValueError, match="have to be 1 or more"):
            figures.labelled_sheet([torch.zeros(1, 8, 8, 3)], [], **sizes)


@pytest.mark.parametrize("picture, sizes", [
    ((1, 8, 8, 3), dict(cell=100_000)), ((40, 8, 8, 3), dict(cell=2048, columns=40)),
    ((1, 1, 100_000, 3), dict(cell=64))])
def test_a_sheet_that_would_fill_the_memory_is_refused_before_it_is_made(picture, sizes):
    with pytest.raises(ValueError, match=r"The sheet would be \d+ x \d+ pixels"):
        figures.labelled_sheet([torch.zeros(picture)], [], **sizes)


@pytest.mark.parametrize("text", ["x" * 2000, "\N{LATIN SMALL LETTER E WITH ACUTE}" * 2000])
def test_text_without_spaces_is_broken(text):
    """2000 letters made a sheet of 21,242 pixels."""
    row = torch.zeros(1, 8, 8, 3)
    plain = figures.labelled_sheet([row], [], cell=64)
    titled = figures.labelled_sheet([row], [], title=text, cell=64)
    assert titled.shape[2] <= 8 * 64 + 20 and titled.shape[1] > plain.shape[1] + 200
    captioned = figures.labelled_sheet([row], [text], cell=64)
    assert captioned.shape[2] <= plain.shape[2] + 2 * 64 + 10
    # All of the caption is there: it ends above the lower margin.
    dark = (captioned[0].amin(-1) < 0.5)[:, : captioned.shape[2] - 80].any(1).nonzero()
    assert dark.min() >= 10 and 10 <= captioned.shape[1] - dark.max() <= 30


def test_a_long_caption_makes_room_for_itself():
    rows, many = [torch.zeros(1, 8, 8, 3)] * 2, "many words " * 40
    sheet = figures.labelled_sheet(rows, [many, "short"], cell=64)
    assert sheet.shape[1] > figures.labelled_sheet(rows, ["", "short"], cell=64).shape[1] + 200
    assert (sheet[0] == 0).all(-1)[:, -74:-10].sum() == 2 * 64 * 64


def test_a_ranked_sheet_has_columns_of_level_rows():
    pictures = torch.rand(6, 8, 8, 3, generator=torch.Generator().manual_seed(0))
    captions = [f"{number}. picture" for number in range(6)]
    found = figures.ranked_sheet(pictures, captions, title="by score", cell=64)
    first, second = (figures.labelled_sheet(list(pictures[rows].split(1)), captions[rows], title=title, cell=64)
                     for rows, title in ((slice(0, 4), "by score"), (slice(4, 6), " ")))
    assert found.shape[1:3] == (first.shape[1], first.shape[2] + second.shape[2])
    assert torch.equal(found[:, :, : first.shape[2]], first)
    assert torch.equal(found[:, : second.shape[1], first.shape[2] :], second)
    assert (found[:, second.shape[1] :, first.shape[2] :] == 1).all()
    alone = figures.ranked_sheet(pictures[:2], captions[:2], cell=64)
    assert torch.equal(alone, figures.labelled_sheet(list(pictures[:2].split(1)), captions[:2], cell=64))
    with pytest.raises(ValueError, match="no pictures"):
        figures.ranked_sheet(pictures[:0], [])
