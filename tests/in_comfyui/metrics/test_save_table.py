"""SaveTable: what is written is the joined table, and LoadReport and PlotReport take it."""
import csv

import pytest
import torch

from mental_averages.dma.metrics import Measure, MeasureTable

ONE = MeasureTable({"encoder": "clip"}, [Measure("images", "Fréchet distance", 12.5, 11.0, 14.0, "lower", 8)])
TWO = MeasureTable({"encoder": "clip"}, [Measure("images", "Fréchet distance", 20.0), Measure("images", "CMMD", None)])


def save(tables, names="", prefix="measures"):
    from mental_averages.nodes.metrics import SaveTable

    return SaveTable.execute(tables, names, prefix).args


def test_json_and_csv_hold_the_joined_table(comfyui, folders):
    tables = {"tables0": ONE, "tables1": None, "tables2": TWO}
    picture, table, path = save(tables, "plain\nmuted\naverage", "sub/measures")
    assert table.subjects() == ["plain", "average"]
    assert path == "sub/measures_00001_.json"
    assert MeasureTable.from_json((folders / "output" / path).read_text()) == table
    with open(folders / "output" / "sub" / "measures_00001_.csv", encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["subject"], row["name"], row["value"]) for row in rows] == [
        ("plain", "Fréchet distance", "12.5"), ("average", "Fréchet distance", "20.0"), ("average", "CMMD", "")]
    assert picture.shape[2:] == (1024, 3) and picture.std() > 0.02


def test_a_second_table_gets_the_next_number_and_the_first_stays(comfyui, folders):
    assert [save({"tables0": each})[2] for each in (ONE, TWO)] == ["measures_00001_.json", "measures_00002_.json"]
    assert sorted(path.name for path in (folders / "output").iterdir()) == [
        "measures_00001_.csv", "measures_00001_.json", "measures_00002_.csv", "measures_00002_.json"]


def test_both_files_of_a_table_have_one_number(comfyui, folders):
    (folders / "output" / "measures_00001_.json").write_text("another node's")
    assert save({"tables0": ONE})[2] == "measures_00002_.json"
    (folders / "output" / "measures_00003_.csv").write_text("a table whose JSON file was deleted")
    assert save({"tables0": ONE})[2] == "measures_00004_.json"
    assert {path.name for path in (folders / "output").glob("*.csv")} == {
        "measures_00002_.csv", "measures_00003_.csv", "measures_00004_.csv"}


def test_tables_of_different_encoders_are_told_apart_and_it_is_said(comfyui, folders):
    from mental_averages.nodes.metrics import SaveTable

    other = MeasureTable({"encoder": "dino"}, ONE.rows)
    saved = SaveTable.execute({"tables0": ONE, "tables1": other}, "a\nb", "measures")
    assert saved.args[1].names() == ["Fréchet distance by clip", "Fréchet distance by dino"]
    assert "different encoders (clip, dino)" in str(saved.ui.as_dict())


def test_load_report_and_plot_report_take_the_file(comfyui, folders):
    from mental_averages.nodes.figures import LoadReport, PlotReport

    report = LoadReport.execute(save({"tables0": ONE})[2]).args[0]
    assert report == ONE
    assert torch.equal(PlotReport.execute(report, 1024).args[0], save({"tables0": ONE})[0])


@pytest.mark.parametrize("tables, names, prefix, complaint", [
    ({}, "", "a", "no tables: connect"), ({"tables0": None}, "", "a", "no tables: connect"),
    ({"tables0": ONE}, "x\ny", "a", "names has 2 lines, but the last table is number 1. Write one line"),
    ({"tables0": ONE, "tables1": TWO}, "", "a", "Two tables have the measure Fréchet distance .* Write one line"),
    ({"tables0": ONE}, "", "../a", "not a file name inside"),
    ({"tables0": MeasureTable({}, [])}, "", "a", "no measures")])
def test_bad_inputs_are_refused_and_nothing_is_written(comfyui, folders, tables, names, prefix, complaint):
    with pytest.raises(ValueError, match=complaint):
        save(tables, names, prefix)
    assert not list((folders / "output").iterdir())
