import pytest
import torch

from mental_averages.dma.metrics import ranked, score_table

SCORES = {"CLIP-T": torch.tensor([0.1, 0.3, 0.3, 0.2]), "sharpness": torch.tensor([4.0, 1.0, 2.0, 3.0])}


def test_the_highest_come_first_and_equal_ones_in_their_order():
    assert ranked(SCORES, "CLIP-T") == [1, 2, 3, 0]
    assert ranked(SCORES, "sharpness") == [0, 3, 2, 1]


@pytest.mark.parametrize("size", [1e-9, 1.0, 1e9])
def test_scores_that_differ_by_rounding_alone_are_equal(size):
    """The typicality of equal pictures differs in the last bit by how its sum was taken."""
    values = size * torch.tensor([0.3, 0.1 + 0.2, 0.3 + 1e-9, 0.3], dtype=torch.float64)
    assert values[1] > values[0]
    assert ranked({"typicality": values}, "typicality") == [2, 0, 1, 3]
    assert ranked({"typicality": 0 * values}, "typicality") == [0, 1, 2, 3]


def test_what_is_left_where_terms_cancel_tells_nothing():
    assert ranked({"any": torch.tensor([0.0, 1e-14, 1.0], dtype=torch.float64)}, "any") == [2, 0, 1]


def test_a_huge_score_makes_no_others_equal():
    values = torch.tensor([1.0, 3.0, -1e13, 0.3, 0.1 + 0.2], dtype=torch.float64)
    assert ranked({"sharpness": values}, "sharpness") == [1, 0, 3, 4, 2]


def test_no_pictures_have_no_order():
    assert ranked({"sharpness": torch.zeros(0)}, "sharpness") == []


def test_the_table_has_every_score_of_every_picture_in_this_order():
    table = score_table(SCORES, [1, 2, 3, 0], {"score": "CLIP-T"})
    assert table.subjects() == ["picture 2", "picture 3", "picture 4", "picture 1"]
    assert [row.value for row in table.rows if row.name == "sharpness"] == [1, 2, 3, 4]
    assert {row.better for row in table.rows} == {"higher"} and len(table.rows) == 8


def test_rows_say_what_a_score_is():
    table = score_table({**SCORES, "typicality": torch.zeros(4)}, [0], {}, beside="beside the reference")
    assert {row.name: row.note for row in table.rows} == {
        "CLIP-T": "", "sharpness": "variance of the Laplacian", "typicality": "beside the reference"}


@pytest.mark.parametrize("scores, chosen, complaint", [
    (SCORES, "taste", "taste"), ({"CLIP-T": torch.tensor([0.1, float("nan")])}, "CLIP-T",
                                             "The pictures' CLIP-T must be finite")])
def test_what_cannot_be_sorted_is_refused(scores, chosen, complaint):
    with pytest.raises(ValueError, match=complaint):
        ranked(scores, chosen)


def test_a_score_that_is_not_finite_stands_in_no_table():
    with pytest.raises(ValueError, match="The pictures' sharpness must be finite"):
        score_table({"CLIP-T": torch.tensor([0.5]), "sharpness": torch.tensor([torch.nan])}, [0], {})
