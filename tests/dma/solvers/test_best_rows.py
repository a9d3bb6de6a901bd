"""The best of each row against a loop over all that it met."""
import torch

from mental_averages.dma.solvers import BestRows


def test_each_row_has_the_items_of_its_smallest_value():
    generator = torch.Generator().manual_seed(0)
    best = BestRows(torch.full((6,), torch.inf), torch.zeros(6, 2, 3), torch.zeros(6, dtype=torch.int64))
    met = {row: [] for row in range(6)}
    for number in range(20):
        rows = torch.randperm(6, generator=generator)[: 1 + number % 6].sort().values
        values, items = torch.rand(len(rows), generator=generator), torch.rand(len(rows), 2, 3, generator=generator)
        best.update(rows, values, items, torch.full((len(rows),), number))
        for row, value, item in zip(rows.tolist(), values, items):
            met[row].append((value.item(), item, number))
    for row, found in met.items():
        value, item, number = min(found, key=lambda entry: entry[0])
        assert best.values[row].item() == value and best.items[1][row].item() == number
        assert torch.equal(best.items[0][row], item)


def test_ties_and_what_is_not_a_number_change_nothing():
    best = BestRows(torch.tensor([1.0, 1.0]), torch.tensor([5.0, 6.0]))
    best.update(torch.tensor([0, 1]), torch.tensor([1.0, torch.nan]), torch.tensor([7.0, 8.0]))
    assert best.values.tolist() == [1, 1] and best.items[0].tolist() == [5, 6]
