"""Numbers say which reference they stand beside, in however many steps their tables were joined."""
import pytest
import torch
from measure_tables import compared, notes_of

from mental_averages.dma.metrics import BESIDE_OTHERS, Measure, MeasureTable, differences, joined, score_table


def test_a_further_table_says_which_reference_it_stands_beside():
    first = joined([compared("a", 1.0, reference_key="1"), compared("b", 2.0, reference_key="2", reference=0.6)])
    other = [first, compared("c", 3.0, reference_key="3", reference=0.7)]
    found = joined(other)
    assert notes_of(found)["c", "kernel distance"] == "beside the reference of c"
    assert notes_of(found)["a", "kernel distance"] == "beside the reference of a"
    assert found.subjects() == ["a", "a, reference", "b", "b, reference", "c", "c, reference"]
    assert differences(other) == ["The tables have different references: a note says which a number belongs to."]
    assert joined([found, compared("d", 3.0, reference_key="3", reference=0.7)]).subjects()[4:] == [
        "c", "c, reference", "d"]


@pytest.mark.parametrize("names", [[], ["both", ""]])
def test_a_reference_that_has_a_name_keeps_it(names):
    first = joined([compared("a", 1.0, reference_key="1"), compared("b", 2.0, reference_key="2", reference=0.6)])
    further = compared("c", 3.0, reference_key="1")
    found = joined([first, further], names)
    assert notes_of(found)["c", "kernel distance"] == "beside the reference of a"
    assert [subject for subject in found.subjects() if "reference" in subject] == ["a, reference", "b, reference"]
    turned = joined([further, first])
    assert turned.subjects() == ["c", "a, reference", "a", "b", "b, reference"]


def test_references_of_one_name_are_told_apart():
    tables = [joined([compared("a", 1.0, reference_key=f"{number}1", reference=0.1 * number),
                      compared("b", 2.0, reference_key=f"{number}2", reference=0.2 + number)]) for number in (1, 2)]
    notes = notes_of(joined(tables, ["plain", "average"]))
    assert notes["plain, a", "kernel distance"] == "beside the reference of a"
    assert notes["average, a", "kernel distance"] == "beside the reference of 2. a"
    assert ("2. a, reference", "diversity") in notes


def test_references_without_a_key_are_known_again():
    def table(subject, reference):
        return MeasureTable({}, [Measure(subject, "CMMD", 1.0), Measure("reference", "diversity", reference)])

    found = joined([joined([table("a", 0.5), table("b", 0.6)]), table("c", 0.5)])
    assert found.subjects() == ["a", "a, reference", "b", "b, reference", "c"]
    assert notes_of(found)["c", "CMMD"] == "beside the reference of a"


def test_pictures_beside_each_other_are_beside_no_reference():
    alone = score_table({"typicality": torch.tensor([0.5])}, [0], {"encoder": "clip"}, beside=BESIDE_OTHERS)
    first = joined([joined([alone], ["a"]), compared("b", 1.0, reference_key="1")])
    notes = notes_of(joined([first, compared("c", 2.0, reference_key="2", reference=0.6)]))
    assert notes["a", "typicality"] == BESIDE_OTHERS
    assert notes["b", "kernel distance"].startswith("beside the reference of")


def test_a_name_may_hold_what_notes_are_joined_by():
    tables = [joined([compared("a", 1.0, reference_key=f"{number}1", reference=0.1 * number),
                      compared("b", 2.0, reference_key=f"{number}2", reference=0.2 + number)], ["cats; dogs", name])
              for number, name in ((1, "b"), (2, "d"))]
    notes = notes_of(joined(tables, ["plain", "average"]))
    of_both = {notes[subject, "kernel distance"] for subject in ("plain, cats; dogs", "average, cats; dogs")}
    assert of_both == {"beside the reference of cats; dogs", "beside the reference of 2. cats; dogs"}


def test_references_are_told_apart_where_notes_say_more_behind_them():
    """Such as that tables of another encoder are there now."""
    tables = [joined([compared("a", 1.0, reference_key=f"{number}1", reference=0.1 * number, encoder=encoder),
                      compared("b", 2.0, reference_key=f"{number}2", reference=0.2 + number, encoder=encoder)])
              for number, encoder in ((1, "clip"), (2, "dino"))]
    first = joined(tables, ["plain", "average"])
    more = compared("a", 1.0, reference_key="31", reference=0.3)
    again = joined([joined([first], ["all"]), joined([more], ["more"])])
    for found, prefix in ((first, ""), (again, "all, ")):
        notes = notes_of(found)
        for name, label in (("plain", "a"), ("average", "2. a")):
            encoder = "clip" if name == "plain" else "dino"
            assert notes[f"{prefix}{name}, a", f"kernel distance by {encoder}"].startswith(
                f"beside the reference of {label}; not comparable")
