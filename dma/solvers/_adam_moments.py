"""Adam's rule (arXiv 1412.6980), row by row."""
from __future__ import annotations

import torch
from torch import Tensor


class AdamMoments:
    """Adam's running moments m and v of the gradients of rows `like` (B, ...), fresh for all of them at once.

        m <- beta1 m + (1 - beta1) g        v <- beta2 v + (1 - beta2) g^2
        move = rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)

    Rows that are done leave with `keep`, so that the moments stay those of the rows that still move.

    >>> moments = AdamMoments(torch.zeros(2, 1))
    >>> moments.step(torch.tensor([[3.0], [-0.01]]), 0.5)  # the first move has the size of the rate
    tensor([[ 0.5000],
            [-0.5000]])
    """

    def __init__(self, like: Tensor, *, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8):
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.first, self.second = torch.zeros_like(like), torch.zeros_like(like)
        self.steps = 0

    def keep(self, going: Tensor) -> None:
        """Only the rows in `going` (B,) bool stay."""
        self.first, self.second = self.first[going], self.second[going]

    def step(self, gradient: Tensor, rate: float) -> Tensor:
        """What is to be subtracted from the rows (b, ...) whose `gradient` this is."""
        self.steps += 1
        self.first = self.beta1 * self.first + (1 - self.beta1) * gradient
        self.second = self.beta2 * self.second + (1 - self.beta2) * gradient.square()
        mean = self.first / (1 - self.beta1**self.steps)
        deviation = (self.second / (1 - self.beta2**self.steps)).sqrt()
        return rate * mean / (deviation + self.epsilon)
