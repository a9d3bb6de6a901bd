"""Pictures moved: by a similarity (scale, rotation, shift), after a smooth flow.

Places p of a picture are in units of half its longer side, (0, 0) in the middle. A warp takes what is drawn at p from

    q = s R (p + f(p)) + t

with the scale s, the rotation R by an angle, the shift t, and the flow f, which is given on a grid and smooth between.
"""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

IDENTITY = (0.0, 0.0, 0.0, 0.0)  # log scale, angle, shift to the right, shift down


def warped(pictures: Tensor, similarities: Tensor, flows: Tensor | None = None) -> Tensor:
    """Pictures (B, 3, H, W) warped: (B, 3, H, W), differentiable in similarities and flows. Beyond the edge, the edge
    goes on.

    similarities: (B, 4), log scale, angle in radians, shift (x, y). flows: (B, 2, G, G), displacements (x, y) on a grid
    whose corners are those of the picture, or none.

    >>> picture = torch.arange(9.0).view(1, 1, 3, 3)
    >>> warped(picture, torch.tensor([[0.0, 0.0, 2 / 3, 0.0]]))[0, 0, 0]  # what lies one pixel to the right
    tensor([1., 2., 2.])
    """
    height, width = pictures.shape[-2:]
    places = _places(height, width).to(pictures)  # (H, W, 2)
    if flows is None:
        moved = places.expand(len(pictures), -1, -1, -1)
    else:
        dense = F.interpolate(flows, (height, width), mode="bicubic", align_corners=True)  # (B, 2, H, W)
        moved = places + dense.permute(0, 2, 3, 1)  # (B, H, W, 2)
    linear = linear_parts(similarities)  # (B, 2, 2)
    sources = torch.einsum("bij,bhwj->bhwi", linear, moved) + similarities[:, None, None, 2:]  # (B, H, W, 2)
    longer = max(height, width)
    grid = sources * sources.new_tensor([longer / width, longer / height])  # -1 ... 1 from edge to edge
    return F.grid_sample(pictures, grid, mode="bilinear", padding_mode="border", align_corners=False)


def linear_parts(similarities: Tensor) -> Tensor:
    """s R, (B, 2, 2), of similarities (B, 4)."""
    scale, angle = similarities[:, 0].exp(), similarities[:, 1]
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    return torch.stack([torch.stack([cosine, -sine], 1), torch.stack([sine, cosine], 1)], 1)


def centred(similarities: Tensor) -> Tensor:
    """Similarities (B, 4) before which one and the same similarity is done, so that on average they do nothing.

    Mean log scale, mean angle and mean shift are then 0; how they differ from each other stays.

    >>> centred(torch.tensor([[0.0, 0.1, 1.0, 0.0], [0.0, 0.3, 3.0, 0.0]]))[:, 1]
    tensor([-0.1000,  0.1000])
    """
    # With T_k p = A_k p + t_k and the common C p = A p + c: T_k C^-1 p = B_k p + t_k - B_k c, B_k = A_k A^-1.
    moved = similarities.clone()
    moved[:, :2] -= similarities[:, :2].mean(0)
    linear, shifts = linear_parts(moved), similarities[:, 2:]  # (B, 2, 2), (B, 2)
    common = torch.linalg.solve(linear.mean(0), shifts.mean(0))  # (2,)
    moved[:, 2:] = shifts - linear @ common
    return moved


def _places(height: int, width: int) -> Tensor:
    """The middles of pixels, (H, W, 2), as (x, y)."""
    longer = max(height, width)
    rows, columns = ((2 * torch.arange(size) + 1 - size) / longer for size in (height, width))
    return torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)
