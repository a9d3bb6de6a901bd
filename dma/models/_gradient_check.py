"""Whether the gradient that a model reports is the derivative of its features: a directional central difference.

A wrong gradient does not show: an optimiser that follows it still lowers the loss a little. Operators that work in
place, memory that is used again before the backward pass, and recomputed blocks can all give one without an error.
"""
from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Generator, Sequence

import torch
from torch import Tensor

from ..diffusion import Denoiser, initial_latent
from ..execution import is_out_of_memory
from ..loss_scale import LossScale, backward
from ..precision import in_double

# Relative to the latent. Rounding spoils small steps, more so in 16-bit models, and curvature spoils large ones.
STEPS = (0.003, 0.01, 0.03, 0.1, 0.2)
TOLERANCE = 0.05


class UnusableGradient(ValueError):
    """A model has no gradient, or a wrong one."""


def gradient_error(denoiser: Denoiser, x: Tensor, other: Tensor, sigma: float) -> float:
    """The relative difference between the derivative by autograd and by central differences, at latents `x`, `other`
    (1, ...).

    Both are of f(x) = <H(x), r> with r = H(x) - H(other) held fixed, which is the direction in which matching pulls,
    along the gradient g itself: |g| against (f(x + h g/|g|) - f(x - h g/|g|)) / 2h. Of several h the two neighbouring
    ones that agree best count, and of them the worse: about 1e-4 in fp32 and 1e-2 in bf16, while the wrong gradients
    that are known are off by a tenth and more. NaN if the features do not depend on x, or the gradient is not finite.

    The backward pass is scaled as that of matching is (see `LossScale`): a network of 16 bits is measured in the range
    in which it will be used.

    >>> class Square:
    ...     def features(self, x, sigma): return x ** 2
    >>> gradient_error(Square(), torch.ones(1, 3), torch.zeros(1, 3), 1.0) < 1e-3
    True
    """
    leaf = x.detach().clone().requires_grad_()
    with torch.no_grad():
        contrast = denoiser.features(x, sigma) - denoiser.features(other, sigma)
    gradient = LossScale(1).apply(backward(lambda: denoiser.features(leaf, sigma), leaf), contrast)
    length = in_double(gradient).norm().item()
    if not 0 < length < math.inf:
        return float("nan")
    direction, errors = (gradient / length).to(x.dtype), []
    for step in STEPS:
        h = step * x.norm().item()
        with torch.no_grad():
            above, below = (denoiser.features(x + sign * h * direction, sigma) for sign in (1, -1))
        difference = (in_double(above - below) * in_double(contrast)).sum().item() / (2 * h)
        errors.append(abs(difference / length - 1))
    return min(max(pair) for pair in zip(errors, errors[1:]))


def check_gradient(denoiser: Denoiser, shape: tuple[int, ...], sigma: float) -> float:
    """`gradient_error` for noise of `shape` (C, H, W) at noise level `sigma`, in the model's own precision.

    Costs about a dozen passes on one latent, of which one is backward. Raises UnusableGradient, a ValueError with a
    sentence for the user, if autograd cannot differentiate the model, or if what it reports is off by more than
    TOLERANCE.
    """
    noise = torch.randn((2, *shape), generator=torch.Generator("cpu").manual_seed(0))
    noise = initial_latent(denoiser.parametrization, noise, sigma).to(denoiser.device)
    with _explained("latents cannot be matched with it"):
        error = gradient_error(denoiser, noise[:1], noise[1:], sigma)
    if error != error:
        raise UnusableGradient("The features of this model are not finite, or do not depend on the latent at all, so "
                               "latents cannot be matched with it at this layer.")
    if error > TOLERANCE:
        raise UnusableGradient("The gradient of this model's features is wrong: it differs from the measured slope by "
                               f"{error:.1%}, where {TOLERANCE:.0%} is allowed, so latents cannot be matched with it.")
    return error


def check_differentiable(output: Callable[[], Tensor], inputs: Sequence[Tensor], otherwise: str) -> None:
    """Raise UnusableGradient, a ValueError with a sentence for the user, if autograd cannot differentiate `output()`,
    of any shape, in `inputs`.

    One forward and one backward pass; whether the gradient is right is not looked at. `otherwise` is what cannot be
    done then.

    >>> weight = torch.ones(2, requires_grad=True)
    >>> check_differentiable(lambda: weight ** 2, [weight], "it is fixed")
    >>> check_differentiable(lambda: weight.detach(), [weight], "it is fixed")  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    UnusableGradient: This model cannot be differentiated, so it is fixed (element 0 of tensors ...
    """
    with _explained(otherwise), torch.enable_grad():
        torch.autograd.grad(output().sum(), inputs, allow_unused=True)


@contextlib.contextmanager
def _explained(otherwise: str) -> Generator[None, None, None]:
    try:
        yield
    except (RuntimeError, NotImplementedError) as failure:
        if is_out_of_memory(failure):
            raise
        raise UnusableGradient(f"This model cannot be differentiated, so {otherwise} ({failure}).") from failure
