"""Large tensors a block at a time."""
import math

import pytest
import torch

from mental_averages.dma import statistics


@pytest.mark.parametrize("count, width", [(0, 3), (1, 1), (7, 2**21), (7, 2**23), (2**22 + 3, 1), (3, 0)])
def test_blocks_hold_every_row_once_and_are_small(count, width):
    found = list(statistics.blocks(count, width))
    assert [row for rows in found for row in (rows.start, rows.stop)][1:-1] == [
        stop for rows in found[:-1] for stop in (rows.stop, rows.stop)]
    assert sum(rows.stop - rows.start for rows in found) == count
    assert all((rows.stop - rows.start) * width <= max(2**22, width) for rows in found)


def test_blocks_of_at_least_so_many_rows():
    assert [rows.stop - rows.start for rows in statistics.blocks(10, 2**22, least=4)] == [4, 4, 2]


def test_rows_that_are_not_finite():
    values = torch.zeros(5, 2**21)  # several blocks
    values[1, 7], values[4, 0] = math.nan, -math.inf
    assert statistics.finite_rows(values).tolist() == [True, False, True, True, False]
    assert statistics.finite_rows(torch.tensor([1.0, math.inf])).tolist() == [True, False]
    assert statistics.finite_rows(torch.zeros(0, 3)).all()


def test_rows_come_in_double_precision():
    values = torch.randn(5, 2**20, dtype=torch.bfloat16)
    found = list(statistics.rows_in_double(values))
    assert len(found) > 1 and torch.equal(torch.cat(found), values.double())
