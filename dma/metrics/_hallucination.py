"""How much the predicted clean latent still moves in the last steps of a sampling."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

FEWEST_STEPS = 2


def trailing_variance(predictions: Sequence[Tensor]) -> Tensor:
    """The variance (B,) of predictions x0 (B, ...) of the clean latent over the last S steps of a sampling:

        score = mean over positions of  1/S sum_s (x0_s - mean over s of x0_s)^2

    Aithal, Maini, Lipton & Kolter, *Understanding Hallucinations in Diffusion Models through Mode Interpolation*
    (arXiv 2406.09358, and the filter of their code): what a model draws between two modes of its data, where it has
    seen nothing, moves longer than what lies in a mode. In the units of the latents, squared; in fp32 or better.

    Raises ValueError for fewer than 2 predictions, for those of different shapes, and for values that are not finite or
    whose squares overflow.

    >>> trailing_variance([torch.tensor([[1.0, 1.0], [0.0, 0.0]]), torch.tensor([[1.0, 1.0], [0.0, 2.0]])]).tolist()
    [0.0, 0.5]
    """
    if len(predictions) < FEWEST_STEPS:
        raise ValueError(f"There are predictions of {len(predictions)} steps, but a variance needs {FEWEST_STEPS}.")
    if any(each.shape != predictions[0].shape or each.ndim < 2 for each in predictions):
        raise ValueError("Predictions have one shape (B, ...) at every step, but these are "
                         f"{', '.join(str(tuple(each.shape)) for each in predictions)}.")
    # The first is taken off, so that what hardly moves is not lost in rounding beside its size.
    base = _at_least_single(predictions[0])
    total, squares = torch.zeros_like(base), torch.zeros_like(base)
    for each in predictions[1:]:
        moved = _at_least_single(each) - base
        total += moved
        squares += moved.square()
    steps = len(predictions)
    variance = (squares / steps - (total / steps).square()).clamp_min(0).flatten(1).mean(1)  # (B,)
    if not variance.isfinite().all():
        raise ValueError("Predictions must be finite, but some of their values are NaN, infinite, or so large that "
                         "their squares overflow.")
    return variance


def _at_least_single(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
