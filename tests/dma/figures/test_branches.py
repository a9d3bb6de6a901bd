import numpy as np
from PIL import Image

from mental_averages.dma.figures._branches import Branch, draw_branches


def drawn(*branches):
    sheet = Image.new("RGB", (100, 60), "white")
    draw_branches(sheet, branches)
    return (np.asarray(sheet) < 250).any(-1)  # (H, W)


def test_a_straight_branch_is_as_wide_as_it_should_be():
    found = drawn(Branch(50, 10, 50, 50, 12, "#d1495b"))
    assert abs(int(found[30].sum()) - 12) <= 1 and not found[:9].any() and not found[52:].any()


def test_a_branch_begins_and_ends_where_it_should():
    found = drawn(Branch(20, 10, 80, 50, 6, "#d1495b"))
    assert 18 <= np.flatnonzero(found[11]).mean() <= 22 and 78 <= np.flatnonzero(found[48]).mean() <= 82
    assert all(row.any() for row in found[11:49])


def test_thin_branches_that_lead_far_aside_are_seen():
    found = drawn(Branch(5, 28, 95, 32, 2, "#000000"))
    assert all(column.any() for column in found.T[8:92])


def test_nothing_is_drawn_without_branches():
    assert not drawn().any() and drawn(Branch(50, 0, 50, 20, 4, "#000000").moved(30))[40].any()
