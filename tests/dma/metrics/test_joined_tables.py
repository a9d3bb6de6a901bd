"""Joined tables keep every number, and nothing stands beside what it is not comparable with without a word."""
import pytest
import torch
from measure_tables import compared, notes_of, scored, sheet

from mental_averages.dma.metrics import Measure, MeasureTable, differences, joined, score_table

TABLE = MeasureTable({"encoder": "clip"}, [Measure("average", "FID", 12.5), Measure("average", "KID", None)])


def cells(table):
    assert MeasureTable.from_json(table.to_json()) == table
    return {(row.subject, row.name): row.value for row in table.rows}


def test_joined_tables_keep_all_rows_and_settings():
    other = MeasureTable({"encoder": "clip"}, [Measure("average", "FID", 1.0), Measure("plain", "FID", 2.0)])
    found = joined([TABLE, other], ["clip"])
    assert found.subjects() == ["clip", "average", "plain"] and found.names() == ["FID", "KID"]
    assert found.settings == {"1. clip": {"encoder": "clip", "measures": ["FID", "KID"]},
                              "2.": {"encoder": "clip", "measures": ["FID"]}}
    assert joined([TABLE]) == TABLE and joined([TABLE], ["a"]).subjects() == ["a"]
    assert joined([TABLE], ["a"]).settings == TABLE.settings


def test_numbers_of_different_encoders_are_in_columns_of_their_own():
    one = compared("average", 1.0, reference_key="r")
    two = compared("average", 2.0, encoder="dino", reference=0.7, reference_key="r")
    two = MeasureTable(two.settings, [one.rows[0], *two.rows[1:]])  # sharpness does not ask the encoder
    found = joined([one, two])
    assert cells(found) == {
        ("average", "sharpness"): 0.1, ("average", "kernel distance by clip"): 1.0, ("average", "CLIP-T by clip"): 0.01,
        ("reference", "diversity by clip"): 0.5, ("average", "kernel distance by dino"): 2.0,
        ("average", "CLIP-T by dino"): 0.02, ("reference", "diversity by dino"): 0.7}
    noted = {row.name: row.note for row in found.rows}
    assert noted["CLIP-T by dino"] == "Student's; not comparable with numbers by another encoder"
    assert noted["sharpness"] == "relative to the reference; delta method"
    assert differences([one, two]) == [
        "The tables are of different encoders (clip, dino): each has columns of its own."]


def test_numbers_of_sheets_by_different_encoders_are_in_columns_of_their_own():
    tables = [sheet("clip"), sheet("32 x 32 pixels")]
    found = joined(tables)
    names = ("share of red", "change of red", "spread", "drift", "average moved")
    assert found.names() == [*(f"{name} by clip" for name in names), "flags",
                             *(f"{name} by 32 x 32 pixels" for name in names)]
    assert len(differences(tables)) == 1 and "clip, 32 x 32 pixels" in differences(tables)[0]
    again = joined([found, sheet("clip", subject="cat, base")])
    assert again.names() == found.names()
    alike = [sheet("clip"), sheet("clip", subject="cat, base")]
    assert joined(alike).rows == [*alike[0].rows, *alike[1].rows] and differences(alike) == []


def test_shares_say_what_was_asked_for():
    tables = [sheet("clip"), sheet("clip", "red\nblue\ngreen", "cat, base")]
    notes = {(row.subject, row.name): row.note for row in joined(tables).rows}
    assert notes["heart, base", "share of red"] == "known; of 'red, blue'"
    assert notes["cat, base", "change of red"] == "known; of 'red, blue, green'"
    assert notes["cat, base", "spread"] == "known"
    assert differences(tables) == ["Shares are of different prompts or questions: a note says which a share belongs "
                                   "to."]


def test_encoders_of_joined_tables_are_known_when_they_are_joined_again():
    first = joined([compared("a", 1.0), compared("b", 2.0, encoder="dino")])
    again = joined([first, compared("c", 3.0)])
    assert cells(again)["c", "kernel distance by clip"] == 3.0 and ("c", "kernel distance") not in cells(again)
    alike = joined([joined([compared("a", 1.0), compared("b", 2.0)]), compared("c", 3.0)])
    assert alike.names() == ["sharpness", "kernel distance", "CLIP-T", "diversity"]


def test_kernel_distances_of_different_subsets_are_apart():
    tables = [compared("a", 1.0), compared("b", 2.0, subset_size=50)]
    assert [name for name in joined(tables).names() if "kernel" in name] == [
        "kernel distance, all pictures", "kernel distance, subsets of 50"]
    assert differences(tables) == ["Kernel distances are of different subsets (0, 50; 0 is all pictures): each has a "
                                   "column of its own."]


def test_rows_say_which_reference_and_prompt_they_belong_to():
    tables = [compared("a", 1.0, reference_key="x", prompt="cat"),
              compared("b", 2.0, reference_key="y", prompt="dog", reference=0.6)]
    found = joined(tables)
    notes = {(row.subject, row.name): row.note for row in found.rows}
    assert notes["b", "sharpness"] == "relative to the reference; delta method; beside the reference of b"
    assert notes["a", "CLIP-T"] == "Student's; prompt 'cat'" and notes["b", "CLIP-T"].endswith("prompt 'dog'")
    assert found.subjects() == ["a", "a, reference", "b", "b, reference"]
    assert len(differences(tables)) == 2 and "different references" in differences(tables)[0]


def test_what_is_alike_is_joined_as_it_is():
    tables = [compared("a", 1.0, reference_key="x"), compared("b", 2.0, reference_key="x")]
    assert [row for row in joined(tables).rows] == [*tables[0].rows, *tables[1].rows[:3]]
    assert differences(tables) == []


def test_a_reference_that_tables_share_is_there_once_and_others_are_told_apart():
    def table(value, reference):
        return MeasureTable({}, [Measure("images", "FID", value), Measure("reference", "diversity", reference)])

    shared = joined([table(1.0, 0.5), table(2.0, 0.5)], ["a", "b"])
    assert [(row.subject, row.value) for row in shared.rows] == [("a", 1.0), ("reference", 0.5), ("b", 2.0)]
    apart = joined([table(1.0, 0.5), table(2.0, 0.6)], ["a", "b"])
    assert apart.subjects() == ["a", "a, reference", "b", "b, reference"]
    same = [MeasureTable({"reference_key": "x"}, [Measure("images", "FID", value),
                                                  Measure("reference", "CLIP-T", value)]) for value in (1.0, 2.0)]
    assert joined(same, ["a", "b"]).subjects() == ["a", "reference", "b", "b, reference"]


def test_pictures_of_several_batches_are_called_after_their_tables():
    tables = [scored([0.5, 0.6], images_key="x"), scored([0.6, 0.5], images_key="y")]
    assert cells(joined(tables, ["plain", "average"])) == {
        ("plain, picture 1", "typicality"): 0.5, ("plain, picture 2", "typicality"): 0.6,
        ("average, picture 1", "typicality"): 0.6, ("average, picture 2", "typicality"): 0.5}
    assert joined(tables, ["", "average"]).subjects()[2:] == ["average, picture 1", "average, picture 2"]


def test_scores_of_the_same_pictures_are_in_one_row_and_those_of_others_are_refused():
    one, two = scored([0.5], images_key="x"), scored([0.7], "sharpness", images_key="x")
    assert cells(joined([one, two])) == {("picture 1", "typicality"): 0.5, ("picture 1", "sharpness"): 0.7}
    with pytest.raises(ValueError, match="different pictures that are called 'picture 1'"):
        joined([one, scored([0.7], "sharpness", images_key="y")])


def test_sharpness_that_is_relative_and_sharpness_that_is_not_are_apart():
    scores = {"sharpness": torch.tensor([0.01])}
    scored_table = score_table(scores, [0], {"encoder": "clip", "reference_key": "y"})
    tables = [compared("a", 5.0, reference_key="x"), scored_table]
    assert cells(joined(tables))["picture 1", "sharpness, variance of the Laplacian"] == pytest.approx(0.01)
    assert cells(joined(tables))["a", "sharpness"] == 0.5
    other = score_table(scores, [0], {"encoder": "clip", "reference_key": "z"})
    found = joined([scored_table, other], ["a", "b"])
    assert found.names() == ["sharpness"] and {row.note for row in found.rows} == {"variance of the Laplacian"}


def test_tables_that_cannot_be_told_apart_are_refused():
    with pytest.raises(ValueError, match="no tables"):
        joined([])
    other = MeasureTable({}, [Measure("average", "FID", 1.0)])
    for names in ([], ["a", "a"], ["", "average"]):
        with pytest.raises(ValueError, match="Two tables have the measure FID of"):
            joined([TABLE, other], names)
    assert joined([TABLE, TABLE]).rows == TABLE.rows
    with pytest.raises(ValueError, match="called 'reference'"):
        joined([TABLE, other], ["", "reference"])


def test_tables_that_were_joined_twice_still_know_their_encoders():
    one, other = (joined([joined([compared(f"a {encoder}", 1.0, encoder=encoder),
                                  compared(f"b {encoder}", 2.0, encoder=encoder)]),
                          joined([compared(f"c {encoder}", 3.0, encoder=encoder),
                                  compared(f"d {encoder}", 4.0, encoder=encoder)])]) for encoder in ("clip", "dino"))
    found = joined([one, other])
    assert "kernel distance" not in found.names() and "kernel distance by dino" in found.names()
    assert "different encoders (clip, dino)" in differences([one, other])[0]


def test_measures_that_have_a_longer_name_from_before_are_still_told_apart():
    subsets = joined([compared("a", 1.0), compared("b", 2.0, subset_size=50)])
    found = joined([subsets, compared("c", 3.0, encoder="dino")])
    assert [name for name in found.names() if "kernel" in name] == [
        "kernel distance by clip, all pictures", "kernel distance by clip, subsets of 50",
        "kernel distance by dino, all pictures"]
    encoders = joined([compared("a", 1.0), compared("b", 2.0, encoder="dino")])
    again = joined([encoders, compared("c", 3.0, subset_size=50, prompt="dog", reference_key="y", reference=0.6)])
    assert "kernel distance by clip, all pictures" in again.names()
    notes = {(row.subject, row.name): row.note for row in again.rows}
    assert notes["c", "CLIP-T by clip"].endswith("prompt 'dog'")
    assert notes["a", "CLIP-T by clip"].endswith("prompt 'unknown'")


def test_pictures_of_tables_that_were_joined_before_are_told_apart():
    first = joined([scored([0.5], images_key="x"), scored([0.1], "CLIP-T", images_key="x")])
    with pytest.raises(ValueError, match="different pictures that are called 'picture 1'"):
        joined([first, scored([0.7], "sharpness", images_key="y")])
    assert joined([first, scored([0.7], "sharpness", images_key="x")]).subjects() == ["picture 1"]


def test_rewards_by_different_models_are_in_columns_of_their_own():
    tables = [scored([0.5], "ImageReward", images_key="x", reward_model=model) for model in ("one", "two")]
    assert cells(joined(tables)) == {("picture 1", "ImageReward by one"): 0.5, ("picture 1", "ImageReward by two"): 0.5}
    assert differences(tables) == ["ImageReward is by different models (one, two): each has a column of its own."]


def test_questions_are_told_once():
    first = joined([sheet("clip"), sheet("clip", "red\nblue\ngreen", "cat, base")])
    notes = notes_of(joined([first, sheet("clip", subject="dog, base")]))
    assert notes["heart, base", "share of red"] == "known; of 'red, blue'"
    assert notes["dog, base", "share of red"] == "known; of 'red, blue'"
    encoders = joined([sheet("clip"), sheet("dino")])
    notes = notes_of(joined([encoders, sheet("clip", "red", "dog, base")]))
    assert "of 'red, blue'" in notes["heart, base", "share of red by clip"]


def test_joining_takes_as_many_looks_as_there_are_rows():
    def looks(count):
        class Counted(list):
            rows = 0

            def __iter__(self):
                Counted.rows += len(self)
                return super().__iter__()

        joined([MeasureTable({"images_key": f"{number}"}, Counted(
            Measure(f"{number}, picture {row}", "sharpness", 1.0, note="variance of the Laplacian")
            for row in range(count))) for number in range(2)])
        return Counted.rows

    assert looks(200) < 15 * looks(20)
