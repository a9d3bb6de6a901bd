"""Words by models as one table."""
import pytest
import torch

from mental_averages.dma.metrics import ConceptCell, answers_of, concept_table, drift, spread
from mental_averages.dma.statistics import change_of_share, wilson_interval


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def cell(seed=0, light=8, count=16, shift=0.0, **change):
    features = normal(count, 6, seed=seed) + shift
    answers = tuple("light" if index < light else "dark" for index in range(count))
    return ConceptCell(average=torch.zeros(8, 8, 3, dtype=torch.uint8), own_features=features.mean(0),
                       features=features, answers=answers, nearest=torch.ones(count), sharpness=torch.ones(count),
                       own_sharpness=1.0, mean_error=0.1, **change)


def named(table):
    return {(row.subject, row.name): row for row in table.rows}


def test_shares_changes_spread_and_drift_are_those_of_their_functions():
    first, second = cell(), cell(1, light=15, shift=3.0)
    found = named(concept_table(["nurse"], ["a", "b"], [[first, second]], ["light", "dark"], {"count": 4}))
    share = found["nurse, a", "share of light"]
    assert (share.value, share.low, share.high, share.count) == (0.5, *wilson_interval(8, 16), 16)
    change = found["nurse, b", "change of light"]
    assert (change.value, change.low, change.high) == change_of_share(
        [answer == "light" for answer in first.answers], [answer == "light" for answer in second.answers])
    measured = found["nurse, b", "drift"]
    assert (measured.value, measured.low, measured.high) == drift(first.features, second.features)
    measured = found["nurse, b", "spread"]
    assert (measured.value, measured.low, measured.high) == spread(second.features)
    assert found["nurse, b", "average moved"].value == pytest.approx(
        (second.own_features - first.own_features).norm().item())
    assert found["nurse, a", "error of the average"].value == 0.1
    assert ("nurse, a", "drift") not in found and ("nurse, a", "change of light") not in found


def test_flags_say_which_shares_have_changed():
    table = concept_table(["nurse"], ["a", "b", "c"], [[cell(), cell(light=16), cell(light=15)]], ["light", "dark"],
                          {})
    flags = [row for row in table.rows if row.name == "flags"]
    assert [row.value for row in flags] == [0, 2, 0]
    assert flags[1].note == "more with light; fewer with dark"


def test_a_cell_that_failed_says_so_and_has_no_neighbour():
    cells = [[cell(), ConceptCell(problem="there is no such file"), cell(1)]]
    found = named(concept_table(["nurse"], ["a", "b", "c"], cells, ["light"], {}))
    row = found["nurse, b", "average"]
    assert row.value is None and row.note == "there is no such file"
    assert found["nurse, c", "drift"].value is None and "no cell" in found["nurse, c", "drift"].note
    assert ("nurse, c", "change of light") not in found and ("nurse, b", "spread") not in found
    assert found["nurse, c", "spread"].value == spread(cells[0][2].features).value


def test_rows_come_word_by_word_and_column_by_column():
    cells = [[cell(), cell()], [cell(), cell()]]
    assert concept_table(["x", "y"], ["a", "b"], cells, [], {}).subjects() == ["x, a", "x, b", "y, a", "y, b"]


def test_without_samples_there_is_the_average_alone():
    alone = ConceptCell(average=torch.zeros(8, 8, 3), own_features=torch.ones(3))
    moved = ConceptCell(average=torch.zeros(8, 8, 3), own_features=torch.ones(3) + torch.tensor([3.0, 4.0, 0.0]))
    table = concept_table(["x"], ["a", "b"], [[alone, moved]], [], {})
    assert [(row.name, row.value) for row in table.rows] == [("flags", 0), ("average moved", 5.0), ("flags", 0)]


def test_samples_that_are_all_the_same_have_no_drift():
    still = cell()
    still.features[:] = 1.0
    found = named(concept_table(["x"], ["a", "b"], [[still, cell()]], [], {}))
    assert found["x, b", "drift"].value is None and "no scatter" in found["x, b", "drift"].note


def test_it_is_read_back_as_it_was_written():
    table = concept_table(["x"], ["a", "b"], [[cell(), ConceptCell(problem="why, oh \"why\"")]], ["light"], {"k": 1})
    assert type(table).from_json(table.to_json()) == table
    assert 'why, oh ""why""' in table.to_csv()


def test_answers_by_how_often_they_were_seen():
    row = [ConceptCell(answers=("b", "a", "")), ConceptCell(answers=("b", "a", "c"))]
    assert answers_of([row, [ConceptCell(answers=("b",))]]) == ["b", "a", "", "c"]
    found = named(concept_table(["x"], ["a", "b"], [row], ["", "c"], {}))
    assert found["x, a", "share of (no answer)"].value == pytest.approx(1 / 3)


def test_free_answers_are_those_of_a_word_and_not_endless():
    """A sheet of a question has the answers of each word in the rows of that word alone, the rare ones as one."""
    dogs = [cell(seed) for seed in range(2)]
    free = [ConceptCell(answers=tuple(f"{column} {number}" for number in range(30)) + ("one",) * 10)
            for column in "ab"]
    table = concept_table(["dog", "thing"], ["a", "b"], [dogs, free], [], {})
    found, shares = named(table), [row for row in table.rows if row.name.startswith("share of ")]
    assert {row.name for row in shares if row.subject.startswith("dog")} == {"share of light", "share of dark"}
    for column in "ab":
        own = [row for row in shares if row.subject == f"thing, {column}"]
        assert len(own) == 12 and own[0].name == "share of one" and own[0].value == 0.25
        assert sum(row.value for row in own) == pytest.approx(1.0)
    assert own[-1].name == "share of (other answers)" and own[-1].value == 0.75
    change = found["thing, b", "change of (other answers)"]
    assert change.value == pytest.approx(0.75 - found["thing, a", "share of (other answers)"].value) and change.low < 1


def test_every_cell_has_to_be_there():
    with pytest.raises(ValueError, match="2 words and 1 columns need a cell each"):
        concept_table(["x", "y"], ["a"], [[cell()], []], [], {})
