"""States of micro-batches, taken apart and put together."""
import torch

from mental_averages.dma.inversion._state import joined, rows_of


def test_parts_are_joined_to_the_whole():
    state = torch.arange(5.0), torch.arange(10.0).view(5, 2)
    parts = [tuple(item + 1 for item in rows_of(state, rows)) for rows in (slice(0, 2), slice(2, 5))]
    for found, expected in zip(joined(state, parts), state):
        assert torch.equal(found, expected + 1)


def test_what_was_only_read_is_not_copied():
    state = torch.arange(5.0), torch.arange(10.0).view(5, 2)
    parts = [(x + 1, read) for x, read in (rows_of(state, rows) for rows in (slice(0, 2), slice(2, 5)))]
    assert joined(state, parts)[1] is state[1]


def test_a_step_may_begin_to_carry_something():
    before = (torch.arange(3.0),)
    found = joined(before, [(before[0][:2], torch.ones(2)), (before[0][2:], torch.zeros(1))])
    assert found[0] is before[0] and found[1].tolist() == [1, 1, 0]
