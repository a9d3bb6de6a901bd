"""The problems that solvers are tried on."""
import pytest
import torch


@pytest.fixture
def linear_problem():
    """Features M z of 12 numbers, five starts, a target that a latent reaches, and M."""
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(30, 12, generator=generator, dtype=torch.float64)
    start = torch.randn(5, 12, generator=generator, dtype=torch.float64)
    target = matrix @ torch.randn(12, generator=generator, dtype=torch.float64)
    return (lambda z: z @ matrix.T), start, target, matrix


@pytest.fixture
def problem():
    """Features tanh(M z) of 12 numbers, five starts, and a target that a latent reaches; the scales of z differ
    30-fold."""
    generator = torch.Generator().manual_seed(0)
    matrix = (torch.randn(30, 12, generator=generator, dtype=torch.float64)
              * torch.logspace(-0.3, -1.8, 12, dtype=torch.float64))
    start = torch.randn(5, 12, generator=generator, dtype=torch.float64)
    target = torch.tanh(matrix @ torch.randn(12, generator=generator, dtype=torch.float64))
    return (lambda z: torch.tanh(z @ matrix.T)), start, target, matrix
