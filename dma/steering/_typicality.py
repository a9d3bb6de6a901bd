"""Predictions of the clean latent, pushed away from an average, towards it, or along the way between two averages.

What a denoiser predicts at each step is where a sample goes. Pushed at the early steps, in which a picture's layout and
kind are decided, the sample ends elsewhere, and is still drawn by the model.
"""
from __future__ import annotations

import math

from torch import Tensor


def pushed_from(clean: Tensor, average: Tensor, *, strength: float, checked: bool = False) -> Tensor:
    """Predictions x0 (B, C, H, W) moved away from an average m (1, C, H, W): x0 + strength (x0 - m).

    strength above 0 leads away from the typical, below 0 towards it; -1 gives m itself, 0 x0. m is brought to the
    device and the type of x0. checked: whether m has been looked at before and fits, as in a loop of many calls.

    For Gaussian data N(m, v) an eps model that is pushed from noise level s down to t has samples of the spread

        sqrt(v) ((1 + v / t^2) / (1 + v / s^2))^(strength / 2)

    around the same mean: the ratio of the signal-to-noise ratios says how much a strength does, whatever the number of
    steps.

    Raises ValueError, unless `checked`, for an average of another size, for values of it that are not finite, and for a
    strength that is not.

    >>> clean, average = torch.full((2, 1, 1, 1), 3.0), torch.full((1, 1, 1, 1), 1.0)
    >>> pushed_from(clean, average, strength=0.5).flatten()
    tensor([4., 4.])
    """
    if not checked:
        _check(clean, average, "average", strength)
    return clean + strength * (clean - average.to(clean))


def pushed_along(clean: Tensor, direction: Tensor, *, strength: float, checked: bool = False) -> Tensor:
    """Predictions x0 (B, C, H, W) moved along a direction d (1, C, H, W): x0 + strength d.

    For Gaussian data N(m, v) an eps model that is pushed from noise level s down to t has samples of the same spread
    around m + strength d (asinh(sqrt(v) / t) - asinh(sqrt(v) / s)). checked is that of `pushed_from`. Raises ValueError
    where it does.

    >>> pushed_along(torch.zeros(2, 1, 1, 1), torch.full((1, 1, 1, 1), 4.0), strength=0.5).flatten()
    tensor([2., 2.])
    """
    if not checked:
        _check(clean, direction, "direction", strength)
    return clean + strength * direction.to(clean)


def direction_between(first: Tensor, second: Tensor) -> Tensor:
    """The way from one average (1, C, H, W) to another: second - first.

    Raises ValueError for averages of different sizes, for several in one batch, and for values that are not finite.

    >>> direction_between(torch.ones(1, 1, 1, 1), torch.full((1, 1, 1, 1), 3.0)).item()
    2.0
    """
    _check(first, second, "second average", 0.0)
    _check(second, first, "first average", 0.0)
    return second - first.to(second)


def _check(clean: Tensor, reference: Tensor, name: str, strength: float) -> None:
    if not math.isfinite(strength):
        raise ValueError(f"The strength is {strength}: it must be a finite number.")
    if clean.ndim != 4 or reference.ndim != 4 or len(reference) != 1:
        raise ValueError(f"Latents must be (B, C, H, W) and the {name} one of them (1, C, H, W), not "
                         f"{tuple(clean.shape)} and {tuple(reference.shape)}.")
    if clean.shape[1:] != reference.shape[1:]:
        raise ValueError(f"The {name} has the size {tuple(reference.shape[1:])}, but the latents are "
                         f"{tuple(clean.shape[1:])}.")
    if not reference.isfinite().all():
        raise ValueError(f"The {name} must be finite, but some of its values are NaN or infinite.")
