import pytest
import torch
from pictures import check_picture

from mental_averages.dma import figures
from mental_averages.dma.figures._measure_table import _cells
from mental_averages.dma.metrics import Measure, MeasureTable

ROWS = [Measure("average", "FID", 12.5, 11.0, 14.0, "lower", 32), Measure("average", "CLIP-T", 0.31, better="higher"),
        Measure("plain samples", "FID", 20.0), Measure("average", "KID", None, note="takes two pictures")]


def plot(rows, width=640):
    return figures.plot_measures(MeasureTable({}, rows), width=width)


@pytest.mark.parametrize("width", [256, 640, 4096])
def test_plot(width):
    check_picture(plot(ROWS, width), width)


def test_another_number_interval_and_note_look_different():
    whole = plot(ROWS)
    for change in (Measure("average", "FID", 12.6, 11.0, 14.0, "lower"),
                   Measure("average", "FID", 12.5, 11.0, 14.5, "lower"),
                   Measure("average", "FID", 12.5, 11.0, 14.0, "higher")):
        assert not torch.equal(plot([change, *ROWS[1:]]), whole)
    assert plot(ROWS[:3]).shape[1] < whole.shape[1]


def test_what_is_said_of_numbers_has_marks():
    rows = [Measure("average", "FID", 12.5, 11.0, 14.0, note="by ten groups"),
            Measure("plain", "FID", 20.0, note="alone"),
            Measure("average", "KID", 1.0, better="lower", note="by ten groups"),
            Measure("plain", "KID", None, note="alone"),
            Measure("average", "CMMD", 2.0, better="lower", note="alone"), Measure("plain", "CMMD", 3.0, note="alone"),
            Measure("average", "CLIP-T", 0.5), Measure("plain", "CLIP-T", 0.5, note="another prompt")]
    cells, notes = _cells(MeasureTable({}, rows))
    assert notes == ["[1] by ten groups", "[2] alone", "[3] another prompt"]
    assert cells == [["", "average", "plain"], ["FID", "12.5 [1]\n(11.0 to 14.0)", "20.0 [2]"],
                     ["KID\nlower is better", "1.00 [1]", "- [2]"], ["CMMD [2]\nlower is better", "2.00", "3.00"],
                     ["CLIP-T", "0.500", "0.500 [3]"]]
    picture = plot(rows)
    check_picture(picture, 640)
    assert not torch.equal(plot([*rows[:-1], Measure("plain", "CLIP-T", 0.5, note="another word")]), picture)
    assert plot([*rows[:-1], Measure("plain", "CLIP-T", 0.5)]).shape[1] < picture.shape[1]


def test_many_subjects_are_rows_and_the_rest_is_counted():
    tall = [Measure(f"picture {number}", name, 1.0) for number in range(300) for name in ("CLIP-T", "sharpness")]
    picture = plot(tall)
    check_picture(picture, 640)
    assert plot(tall[:20]).shape[1] < plot(tall[:40]).shape[1] < picture.shape[1]
    assert picture.shape[1] == plot(tall[: 2 * 250]).shape[1]


def test_what_is_said_of_rows_that_are_left_out_is_left_out():
    rows = [Measure(f"picture {number}", name, 1.0, note=f"{name} {number}") for number in range(300)
            for name in ("CLIP-T", "sharpness")]
    cells, notes = _cells(MeasureTable({}, rows))
    assert len(cells) == 201 and notes[0] == "200 of 300 rows" and len(notes) == 401
    assert notes[-1] == "[400] sharpness 199"


def test_columns_are_as_many_as_can_be_read():
    rows = [Measure(f"cell {cell}", f"share {share}", 0.5, 0.4, 0.6) for cell in range(40) for share in range(50)]
    cells, notes = _cells(MeasureTable({}, rows))
    assert notes == ["16 of 40 columns"] and {len(row) for row in cells} == {17} and len(cells) == 51
    cells, notes = _cells(MeasureTable({}, [Measure(row.name, row.subject, 0.5) for row in rows]))
    assert notes == ["16 of 40 columns"] and cells[0][-1] == "cell 15" and len(cells) == 51


@pytest.mark.parametrize("name", ["costs $5 or $6", "猫と犬", "a\tcat 😀", "a very long name " * 20, "w" * 300])
def test_every_name_can_be_written(name):
    check_picture(plot([Measure(name, "FID", 1.0), Measure("other", name, 2.0)]), 640)


def test_a_table_without_rows_says_so():
    with pytest.raises(ValueError, match="no measures"):
        plot([])
