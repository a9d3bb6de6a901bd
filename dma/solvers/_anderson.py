"""Anderson acceleration of a fixed-point iteration."""
from __future__ import annotations

import torch
from torch import Tensor

from ..precision import in_double


def anderson_step(iterates: list[Tensor], changes: list[Tensor], earlier: Tensor | None = None) -> Tensor:
    """The next iterate (B, ...) of x = g(x) from the last ones and their changes g(x) - x (Anderson 1965, type II).

    Of all mixtures of the iterates that sum to one it takes that whose mixed change is smallest, and adds that change.
    `earlier` (B,): how many of those before the last each row mixes, where it is not all of them. Rows in which the
    mixture is not finite take the plain step x + change.

    >>> x = torch.tensor([[0.0]]), torch.tensor([[1.0]])
    >>> anderson_step(list(x), [3 - 2 * x[0] - x[0], 3 - 2 * x[1] - x[1]])  # g(x) = 3 - 2 x, which does not contract
    tensor([[1.]])
    """
    x, change = iterates[-1], changes[-1]
    if len(iterates) == 1:
        return x + change
    moved, changed = (torch.stack([in_double(b - a).flatten(1) for a, b in zip(parts, parts[1:])], 2)
                      for parts in (iterates, changes))  # (B, L, m)
    if earlier is not None:
        age = torch.arange(moved.shape[2], 0, -1, device=moved.device)  # (m,)
        told = age <= earlier.to(moved.device)[:, None, None]  # (B, 1, m)
        moved, changed = (torch.where(told, parts, 0.0) for parts in (moved, changed))
    # LAPACK refuses a whole batch for one NaN.
    known = (torch.where(values.isfinite(), values, 0.0)
             for values in (changed, in_double(change).flatten(1)[..., None]))
    weights = torch.linalg.lstsq(*known).solution  # (B, m, 1)
    mixed = x + change - ((moved + changed) @ weights).view_as(x).to(x.dtype).to(x.device)
    finite = torch.isfinite(mixed).flatten(1).all(1).view(-1, *[1] * (x.ndim - 1))
    return torch.where(finite, mixed, x + change)
