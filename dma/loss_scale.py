"""Loss scaling (arXiv 1710.03740): backward passes through a network of 16-bit floats that neither vanish nor overflow.

Below 6e-8 a number is zero in fp16, and above 65504 infinite. A backward pass is linear in what enters it, so that this
may be multiplied by anything if what comes out is divided by the same. A power of two changes no digit: where numbers
have the range of fp32, bf16 among them, results are those without scaling to the last bit.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

SMALLEST = 2.0**-20
LOWER = 2.0**4  # by what a row is scaled down that overflows: a pass for every bit would be too many


def power_of_two(value: float) -> float:
    """The power of two nearest to a positive `value`, on the scale of logarithms.

    >>> power_of_two(1000), power_of_two(0.3)
    (1024.0, 0.25)
    """
    return 2.0 ** round(math.log2(value))


def falling_scales(first: float, lower: float = 2.0) -> Iterator[float]:
    """The scales to be tried one after another until nothing overflows: `first`, and so on down to SMALLEST.

    What is not finite below that does not come from the scale.

    >>> list(falling_scales(1.0, 2.0**10)) == [1.0, 2.0**-10, 2.0**-20]
    True
    """
    scale = first
    while True:
        yield scale
        if scale <= SMALLEST:
            return
        scale /= lower


def backward(function: Callable[[], Tensor], leaf: Tensor,
             recorded: Tensor | None = None) -> Callable[[Tensor], Tensor]:
    """The product u -> J^T u (shaped like `leaf`) of the Jacobian J of `function()` in `leaf`.

    A backward pass gives the memory of its forward pass back on its way, as both together might not fit. So the
    function runs once for each product; `recorded`, what it has returned with gradients on, saves the first run.

    >>> leaf = torch.tensor([1.0, 3.0], requires_grad=True)
    >>> backward(lambda: leaf.square(), leaf)(torch.ones(2))
    tensor([2., 6.])
    """
    waiting = [] if recorded is None else [recorded]

    def product(seed: Tensor) -> Tensor:
        with torch.enable_grad():
            output = waiting.pop() if waiting else function()
        return torch.autograd.grad(output, leaf, seed)[0]

    return product


class LossScale:
    """A scale for each of `count` rows, which are problems of their own.

    What enters the network has a root mean square of about one: far from both ends of fp16, and in the range for which
    networks of 16 bits are made. A row that overflows inside nevertheless is scaled down, and stays so for the calls to
    come. `tries` (count,) says how many products each row has needed in the last call, `retries` how many more than one
    it has needed in all calls.

    >>> def times_3000(u): return 3000 * u.half()
    >>> seed = torch.tensor([[2.0**-30], [64.0]])
    >>> times_3000(seed).tolist()
    [[0.0], [inf]]
    >>> LossScale(2).apply(lambda u: times_3000(u).float(), seed).tolist() == [[3000 * 2.0**-30], [192000.0]]
    True
    """

    def __init__(self, count: int):
        self.lowered, self.tries = torch.ones(count), torch.ones(count, dtype=torch.int64)
        self.retries = torch.zeros_like(self.tries)

    def keep(self, going: Tensor) -> None:
        """Only the rows in `going` (B,) bool stay."""
        going = going.cpu()
        self.lowered, self.tries, self.retries = self.lowered[going], self.tries[going], self.retries[going]

    def apply(self, product: Callable[[Tensor], Tensor], seed: Tensor, size: Tensor | None = None) -> Tensor:
        """product(seed) (b, ...) for a `product` that is linear and row by row, such as a backward pass; it is called
        again, with smaller rows, until all that can be are finite.

        `size` (b,) is the root mean square of what each row of the seed (b, ...) makes enter the network, that of the
        row itself if left out. Where it is not a finite positive number, nothing is scaled or tried again.
        """
        sizes: list[float] = (_root_mean_squares(seed) if size is None else size).tolist()
        usual = torch.tensor([_to_about_one(value) for value in sizes]) * self.lowered
        settled = torch.tensor([not 0 < value < math.inf for value in sizes], dtype=torch.bool)
        lowered, self.tries = self.lowered, torch.zeros_like(self.tries)
        found: Tensor | None = None
        for share in falling_scales(1.0, LOWER):
            scale = (usual * share).to(seed)  # (b,)
            result = product(seed * _along(scale, seed))
            result = result / _along(scale, result)
            self.tries += 1 if found is None else ~settled
            finite = result.flatten(1).isfinite().all(1).cpu()
            new = finite & ~settled
            found = result if found is None else torch.where(_along(new.to(result.device), result), result, found)
            lowered = torch.where(new, self.lowered * share, lowered)
            settled = settled | new
            if settled.all():
                break
        self.lowered = lowered
        self.retries = self.retries + self.tries - 1
        assert found is not None
        return found


def _root_mean_squares(rows: Tensor) -> Tensor:
    return rows.detach().flatten(1).norm(dim=1) / math.sqrt(max(1, rows[0].numel()))


def _to_about_one(size: float) -> float:
    """The power of two that brings a size to between one half and one."""
    return 2.0 ** -max(-100, min(100, math.frexp(size)[1])) if 0 < size < math.inf else 1.0


def _along(rows: Tensor, like: Tensor) -> Tensor:
    return rows.view(-1, *[1] * (like.ndim - 1))
