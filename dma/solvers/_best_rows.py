"""The best that each row of a batch has met."""
from __future__ import annotations

from torch import Tensor


class BestRows:
    """Of each of B rows the smallest value so far, (B,), and the items (B, ...) that came with it.

    `values` and `items` are what the rows begin with, and are written into: infinity and anything.

    >>> best = BestRows(torch.full((3,), torch.inf), torch.zeros(3, 1))
    >>> best.update(torch.tensor([0, 1]), torch.tensor([2.0, 1.0]), torch.tensor([[20.0], [10.0]]))
    >>> best.update(torch.tensor([1, 2]), torch.tensor([5.0, 4.0]), torch.tensor([[50.0], [40.0]]))
    >>> best.values.tolist(), best.items[0].flatten().tolist()
    ([2.0, 1.0, 4.0], [20.0, 10.0, 40.0])
    """

    def __init__(self, values: Tensor, *items: Tensor):
        self.values, self.items = values, items

    def update(self, rows: Tensor, values: Tensor, *items: Tensor) -> None:
        """Take note of new `values` (b,) and `items` (b, ...) of the rows (b,); a NaN is never better."""
        better = values < self.values[rows]  # (b,)
        improved = rows[better]
        self.values[improved] = values[better]
        for kept, item in zip(self.items, items):
            kept[improved] = item[better]
