"""Spherical interpolation between two noise parts."""
from __future__ import annotations

import math

import torch
from torch import Tensor


def slerp_coefficients(noise: Tensor, row: Tensor, *, number: int = 1, keep_lengths: bool = False) -> Tensor:
    """Factors (N,) on noise parts (N, L) of spherical interpolation between the two that `row` (N,) gives weight to.

    Shoemake's formula joins points p1, p2 of one sphere at angle theta:

        slerp(p1, p2, t) = sin((1 - t) theta) / sin(theta) p1 + sin(t theta) / sin(theta) p2.

    Latents have different norms. By default the formula gets their directions p = e / |e|, to which it applies, and the
    result has the norm (1 - t) |e1| + t |e2|. With `keep_lengths` its factors are applied to e1 and e2 themselves, as
    is common; norms along that path can lie outside the inputs' (section 3.3). Both agree for inputs of equal norm.

    `number` names the row in messages. Raises ValueError for more than two weights above zero, an input without a
    direction, and opposite directions.
    """
    chosen = row.nonzero().flatten()
    if len(chosen) > 2:
        raise ValueError(f"Row {number} of the weights gives weight to {len(chosen)} latents, but slerp joins two: use "
                         "another method, or rows with at most two weights above 0.")
    if len(chosen) == 1:
        return row.clone()
    ends, shares = noise[chosen], row[chosen]  # (2, L), (2,)
    lengths = ends.norm(dim=1)
    if (lengths == 0).any():
        if (lengths == 0).all():
            return row.clone()
        raise ValueError(f"Slerp in row {number} of the weights starts from a latent without noise, which has no "
                         "direction: use another method, or latents that hold noise.")
    directions = ends / lengths[:, None]
    # Half angles from chords stay accurate where the cosine is near 1 or -1.
    theta = 2 * torch.atan2((directions[0] - directions[1]).norm(), (directions[0] + directions[1]).norm())
    if math.pi - theta < 1e-6:
        raise ValueError(f"The two latents in row {number} of the weights point in opposite directions, and no "
                         "shortest way on the sphere joins them: use another method or other latents.")
    factors = shares if theta < 1e-7 else torch.sin(shares * theta) / torch.sin(theta)
    if not keep_lengths:
        factors = factors * (shares @ lengths) / lengths
    return torch.zeros_like(row).index_put((chosen,), factors)
