from types import SimpleNamespace

import torch

from mental_averages.dma.solvers._memory import recall, remember

CPU = torch.device("cpu")


def parts():
    return SimpleNamespace(rows=torch.arange(3), past=[torch.ones(2), torch.zeros(2)], pair=(torch.ones(1),), steps=4,
                           rate=0.5, nothing=None, inner=SimpleNamespace(going=torch.tensor([True, False])))


def fresh():
    return SimpleNamespace(rows=torch.zeros(1), past=[], pair=(torch.zeros(1),), steps=0, rate=0.25, nothing=None,
                           inner=SimpleNamespace(going=torch.tensor([False])))


def test_an_object_is_given_what_was_noted_of_another():
    known, again = parts(), fresh()
    memory = remember(one=known, point=torch.full((2,), 3.0))
    assert all(isinstance(value, torch.Tensor) for value in memory.values())
    recall(again, memory, "one", CPU)
    assert again.rows.tolist() == [0, 1, 2] and [row.tolist() for row in again.past] == [[1, 1], [0, 0]]
    assert isinstance(again.pair, tuple) and again.pair[0].tolist() == [1] and again.steps == 4
    assert again.inner.going.tolist() == [True, False] and again.rate == 0.25 and again.nothing is None
    assert memory["point"].tolist() == [3, 3]


def test_neither_the_object_nor_what_goes_on_from_it_writes_into_what_was_noted():
    known, again = parts(), fresh()
    memory = remember(one=known)
    known.rows += 1
    recall(again, memory, "one", CPU)
    again.rows += 5
    again.past[0] += 5
    assert memory["one.rows"].tolist() == [0, 1, 2] and memory["one.past.0"].tolist() == [1, 1]
