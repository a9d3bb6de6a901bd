import logging

import pytest
import torch
from hypothesis import given, settings, strategies as st

from mental_averages.dma import interpolation


def test_tables_of_the_wrong_shape():
    with pytest.raises(ValueError, match="3 weights per row but 2 latents"):
        interpolation.normalised_weights(torch.ones(1, 3), 2)
    for shape in ((3,), (0, 3)):
        with pytest.raises(ValueError, match="one or more rows"):
            interpolation.normalised_weights(torch.ones(shape), 3)


def test_sums_other_than_one_are_divided_and_said_so(caplog):
    with caplog.at_level(logging.WARNING):
        torch.testing.assert_close(interpolation.normalised_weights(torch.tensor([[0.5, 0.5], [1.0, 3.0]]), 2),
                                   torch.tensor([[0.5, 0.5], [0.25, 0.75]], dtype=torch.float64))
    assert [record.getMessage() for record in caplog.records] == ["Row 2 of the weights sums to 4 instead of 1: it was "
                                                                  "divided by its sum."]


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 6), st.integers(1, 6), st.booleans())
def test_paths_visit_every_input_and_move_evenly(count, steps, closed):
    rows = interpolation.path_weights(count, steps, closed=closed)
    assert rows.shape == (count * steps if closed else (count - 1) * steps + 1, count)
    assert torch.equal(rows[::steps], torch.eye(count, dtype=torch.float64))
    following = torch.cat([rows, rows[:1]]) if closed else rows
    torch.testing.assert_close(following.diff(dim=0).abs().sum(1),
                               torch.full((len(following) - 1,), 2 / steps, dtype=torch.float64))


@pytest.mark.parametrize("size", [2, 3, 7])
def test_grids(size):
    triangle, square = interpolation.grid_weights(3, size), interpolation.grid_weights(4, size)
    assert len(triangle) == size * (size + 1) // 2 and len(square) == size**2
    for rows, corners in ((triangle, (0, len(triangle) - size, len(triangle) - 1)),
                          (square, (0, size - 1, size * (size - 1), size**2 - 1))):
        assert (rows >= 0).all() and len(rows.unique(dim=0)) == len(rows)
        torch.testing.assert_close(rows.sum(1), torch.ones(len(rows), dtype=torch.float64))
        assert torch.equal(rows[list(corners)], torch.eye(rows.shape[1], dtype=torch.float64))


def test_random_mixtures_are_uniform_on_the_simplex():
    rows = interpolation.random_weights(3, 20000, seed=1)
    assert (torch.equal(rows, interpolation.random_weights(3, 20000, seed=1))
            and not torch.equal(rows, interpolation.random_weights(3, 20000, seed=2)))
    torch.testing.assert_close(rows.sum(1), torch.ones(20000, dtype=torch.float64))
    # Of a flat Dirichlet distribution over three: means 1/3, second moments 1/6.
    torch.testing.assert_close(rows.mean(0), torch.full((3,), 1 / 3, dtype=torch.float64), atol=0.01, rtol=0)
    torch.testing.assert_close(rows.square().mean(0), torch.full((3,), 1 / 6, dtype=torch.float64), atol=0.01, rtol=0)


@pytest.mark.parametrize("numbers, message",
                         [([], "no numbers of inputs"), ([2, 5], "The first 5 of 4 inputs"), ([0], "The first 0 of 4")])
def test_impossible_numbers_of_first_inputs(numbers, message):
    with pytest.raises(ValueError, match=message):
        interpolation.first_weights(4, numbers)


def test_impossible_rows():
    for make in (lambda: interpolation.path_weights(1, 3), lambda: interpolation.path_weights(3, 0),
                 lambda: interpolation.grid_weights(5, 3), lambda: interpolation.grid_weights(4, 1),
                 lambda: interpolation.random_weights(0, 3, seed=0)):
        with pytest.raises(ValueError):
            make()


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 100).flatmap(lambda count: st.tuples(st.just(count),
                                                           st.lists(st.integers(1, count), min_size=1, max_size=5))))
def test_the_first_inputs_alike(drawn):
    count, numbers = drawn
    rows = interpolation.first_weights(count, numbers)
    assert torch.equal(rows > 0, torch.tensor([[place < number for place in range(count)] for number in numbers]))
    torch.testing.assert_close(rows.sum(1), torch.ones(len(numbers), dtype=torch.float64))
    torch.testing.assert_close(interpolation.effective_inputs(rows), torch.tensor(numbers, dtype=torch.float64))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 6), st.integers(0, 1000))
def test_effective_inputs_lie_between_one_and_all(count, seed):
    rows = interpolation.random_weights(count, 5, seed=seed)
    found = interpolation.effective_inputs(rows)
    assert (found >= 1 - 1e-9).all() and (found <= count + 1e-9).all()
    torch.testing.assert_close(interpolation.effective_inputs(interpolation.equal_weights(count)),
                               torch.tensor([float(count)], dtype=torch.float64))
