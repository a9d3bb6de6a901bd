"""What a solver needs to go on later, as tensors under names."""
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..named_tensors import below, under


def remember(**parts: Any) -> dict[str, Tensor]:
    """Copies of all tensors and whole numbers in `parts`: tensors, lists of them, and objects that hold such.

    >>> from types import SimpleNamespace
    >>> sorted(remember(point=torch.zeros(2), best=SimpleNamespace(rows=[torch.ones(1)], seen=3)))
    ['best.rows.0', 'best.seen', 'point']
    """
    found: dict[str, Tensor] = {}
    for name, part in parts.items():
        if isinstance(part, Tensor):
            found[name] = part.detach().clone()
        elif isinstance(part, (bool, float, str)) or part is None:
            continue  # a choice of the solver's own, or nothing yet
        elif isinstance(part, int):
            found[name] = torch.tensor(part)
        else:
            inner = {str(index): item for index, item in enumerate(part)} if isinstance(part, (list, tuple)) else vars(
                part)
            found |= under(f"{name}.", remember(**inner))
    return found


def recall(part: Any, memory: dict[str, Tensor], name: str, device: torch.device) -> None:
    """Give an object what `remember` has noted of it under `name`; what it has no tensor for yet goes to `device`.

    >>> from types import SimpleNamespace
    >>> again = SimpleNamespace(rows=[], seen=0)
    >>> recall(again, {"best.rows.0": torch.ones(1), "best.seen": torch.tensor(3)}, "best", torch.device("cpu"))
    >>> again.rows, again.seen
    ([tensor([1.])], 3)
    """
    noted = below(f"{name}.", memory)
    for key in {key.partition(".")[0] for key in noted}:
        present = getattr(part, key)
        if isinstance(present, (list, tuple)):
            # As many as there were, in their order.
            items = [noted[f"{key}.{index}"].to(device, copy=True)
                     for index in range(sum(other.startswith(f"{key}.") for other in noted))]
            setattr(part, key, type(present)(items))
        elif key not in noted:
            recall(present, noted, key, device)
        elif isinstance(present, int):
            setattr(part, key, int(noted[key]))
        else:
            # A copy, because what is noted stays as it is while the part goes on.
            setattr(part, key, noted[key].to(present.device if isinstance(present, Tensor) else device, copy=True))
