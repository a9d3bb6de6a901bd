"""The sheet of words by models: every cell once, readable, on as many pages as it takes."""
import pytest
import torch

from mental_averages.dma import figures
from mental_averages.dma.metrics import ConceptCell, concept_table

FLAG = torch.tensor([0xB3, 0x26, 0x1E]) / 255


def coloured(colour, **change):
    return ConceptCell(average=torch.tensor(colour, dtype=torch.uint8).expand(24, 24, 3).contiguous(), **change)


def measured(light=4, count=8, seed=0, **change):
    features = torch.randn(count, 4, generator=torch.Generator().manual_seed(seed))
    return coloured((0, 0, 255), answers=("light",) * light + ("dark",) * (count - light), features=features,
                    own_features=features.mean(0), nearest=torch.ones(count), sharpness=torch.ones(count),
                    own_sharpness=1.0, **change)


def sheet(words, columns, cells, attributes=(), **change):
    return figures.concept_sheet(words, columns, cells, concept_table(words, columns, cells, attributes, {}), **change)


def area(pages, colour):
    return int(((pages - torch.tensor(colour)).abs().amax(-1) < 1e-3).sum())


def test_every_picture_is_drawn_once():
    cells = [[coloured((255, 0, 0)), coloured((0, 255, 0))], [coloured((0, 0, 255)), coloured((255, 255, 0))]]
    pages = sheet(["a", "b"], ["x", "y"], cells, cell=160)
    assert pages.shape[0] == 1
    for colour in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0)):
        assert area(pages, colour) == 160 * 160


def test_a_column_is_above_another_row():
    cells = [[coloured((255, 0, 0)), coloured((0, 255, 0))], [coloured((0, 0, 255)), coloured((255, 255, 0))]]
    page = sheet(["a", "b"], ["x", "y"], cells, cell=128)[0]
    places = [((page - torch.tensor(colour).float()).abs().amax(-1) < 1e-3).nonzero().float().mean(0)
              for colour in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0))]
    (top, left), (beside, right), (below, under), _ = places
    assert top == beside and left == under and right > left and below > top


def test_what_failed_says_so_in_its_place():
    cells = [[coloured((255, 0, 0)), ConceptCell(problem="there is no such file")]]
    pages = sheet(["a"], ["x", "y"], cells)
    other = sheet(["a"], ["x", "y"], [[cells[0][0], ConceptCell(problem="out of memory")]])
    assert area(pages, (1, 0, 0)) == 192 * 192 and not torch.equal(pages, other)
    assert area(pages, FLAG.tolist()) > 4 * 192 - 10, "a frame of another colour"
    alone = sheet(["a"], ["x"], [[ConceptCell(problem="long " * 400)]])
    assert alone.shape[1] < 2 * 192 + 100, "a long reason is cut"


def test_a_share_is_as_long_as_its_bar():
    bars = {}
    for light in (0, 2, 4, 8):
        pages = sheet(["a"], ["x"], [[measured(light)]], ["light"], cell=160)
        bars[light] = area(pages, (0x8F / 255, 0xB3 / 255, 0xF5 / 255))
    assert bars[0] == 0 and bars[2] < bars[4] < bars[8]
    assert bars[4] / bars[8] == pytest.approx(0.5, abs=0.06)


def test_flags_are_in_their_colour():
    plain, flagged = (sheet(["a"], ["x"], [[measured(nearest=nearest) if nearest is None else
                                            ConceptCell(**{**vars(measured()), "nearest": nearest})]])
                      for nearest in (torch.ones(8), torch.zeros(8)))
    assert area(plain, FLAG.tolist()) == 0 < area(flagged, FLAG.tolist())


def test_many_columns_make_pictures_smaller_and_then_pages():
    words = ["a"]

    def of(count):
        return sheet(words, [f"epoch {number}" for number in range(count)], [[coloured((255, 0, 0))] * count], cell=256)

    few, more, many = of(10), of(25), of(70)
    assert len(few) == len(more) == 1 and area(few, (1, 0, 0)) == 10 * 256**2
    assert 25 * 128**2 < area(more, (1, 0, 0)) < 25 * 256**2
    assert len(many) == 3 and area(many, (1, 0, 0)) == 70 * figures.LEAST_CELL**2
    assert max(many.shape[1:3]) <= 4096 and max(more.shape[1:3]) <= 4096


def test_hundreds_of_cells_are_all_drawn():
    words, columns = [f"word {number}" for number in range(60)], [f"model {number}" for number in range(6)]
    cells = [[coloured((255, 0, 0))] * 6 for _ in words]
    pages = sheet(words, columns, cells, cell=128)
    assert len(pages) > 1 and area(pages, (1, 0, 0)) == 360 * 128**2 and max(pages.shape[1:3]) <= 4096


def test_title_words_and_columns_are_written():
    cells = [[coloured((255, 0, 0))]]
    sheets = [sheet([word], [column], cells, title=title) for word, column, title in
              (("a", "x", ""), ("b", "x", ""), ("a", "y", ""), ("a", "x", "title"))]
    assert sheets[0].shape == sheets[1].shape == sheets[2].shape and sheets[3].shape[1] > sheets[0].shape[1]
    assert not torch.equal(sheets[0], sheets[1]) and not torch.equal(sheets[0], sheets[2])


def test_pictures_of_several_shapes():
    wide = ConceptCell(average=torch.full((20, 40, 3), 255, dtype=torch.uint8) * torch.tensor([1, 0, 0],
                                                                                              dtype=torch.uint8))
    pages = sheet(["a"], ["x", "y"], [[wide, coloured((0, 255, 0))]], cell=128)
    assert area(pages, (1, 0, 0)) == 128 * 256 and area(pages, (0, 1, 0)) == 128 * 128


@pytest.mark.parametrize("words, columns, cell, message", [
    ([], ["x"], 192, "a word and a column"), (["a"], [], 192, "a word and a column"),
    (["a"], ["x"], 127, "cell is 127: below pictures of less than 128")])
def test_what_is_no_sheet(words, columns, cell, message):
    with pytest.raises(ValueError, match=message):
        figures.concept_sheet(words, columns, [[coloured((0, 0, 0))]], concept_table([], [], [], [], {}), cell=cell)
