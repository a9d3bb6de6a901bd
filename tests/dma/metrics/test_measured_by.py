"""What is said of how numbers were measured is said of those alone that were measured so."""
from measure_tables import compared, looked_at, notes_of, scored, sheet

from mental_averages.dma.metrics import Measure, MeasureTable, differences, joined


def test_a_part_says_nothing_of_how_it_did_not_measure():
    given = {"prompt": "a cat", "subset_size": 1000, "reference_key": "r"}
    first = joined([compared("a", 1.0, **given), looked_at("b", reference_key="r")])
    alike = [first, compared("c", 3.0, **given)]
    assert joined(alike).names() == ["sharpness", "kernel distance", "CLIP-T", "diversity"]
    assert notes_of(joined(alike))["c", "CLIP-T"] == "Student's" and differences(alike) == []
    notes = notes_of(joined([first, compared("c", 3.0, **{**given, "prompt": "a dog"})]))
    assert notes["a", "CLIP-T"] == "Student's; prompt 'a cat'" and notes["c", "CLIP-T"] == "Student's; prompt 'a dog'"
    shares = joined([sheet("clip"), looked_at("b")])
    assert joined([shares, sheet("dino", subject="cat, base")]).names()[:2] == [
        "share of red by clip", "change of red by clip"]


def test_files_that_were_joined_before_measures_were_kept_say_no_more():
    whole = [compared("a", 1.0, prompt="a cat", subset_size=1000), looked_at("b")]
    old = MeasureTable({f"{number}.": table.settings for number, table in enumerate(whole, 1)},
                       [row for table in whole for row in table.rows])
    alike = [MeasureTable.from_json(old.to_json()), compared("c", 3.0, prompt="a cat", subset_size=1000)]
    assert joined(alike).names() == ["sharpness", "kernel distance", "CLIP-T", "diversity"]
    assert differences(alike) == []


def test_a_part_without_a_setting_does_not_take_that_of_another():
    old = scored([0.5], "ImageReward", images_key="x")
    first = joined([old, MeasureTable({"reward_model": "one"}, [Measure("b", "sharpness", 1.0)])], ["a", ""])
    found = joined([first, MeasureTable({"reward_model": "one"}, [Measure("c", "ImageReward", 0.1)])])
    assert "ImageReward by a model without a name" in found.names() and "ImageReward by one" in found.names()
