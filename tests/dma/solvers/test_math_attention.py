"""Attention with a second derivative, for models that choose their kernel themselves."""
import pytest
import torch
from nvidia_attention import own_choice

from mental_averages.dma.solvers import GaussNewton
from mental_averages.dma.solvers._math_attention import MathAttention


def curvature(attention):
    x = torch.randn(1, 2, 6, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (first,) = torch.autograd.grad(attention(x, x, x).square().sum(), x, create_graph=True)
    return torch.autograd.grad(first.square().sum(), x)[0]


def by_formula(q, k, v):
    return (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1) @ v


def test_second_derivative_of_a_model_that_chooses_its_kernel():
    with pytest.raises(RuntimeError, match="not implemented"):
        curvature(own_choice)
    with MathAttention():
        found = curvature(own_choice)
    torch.testing.assert_close(found, curvature(by_formula), rtol=1e-4, atol=1e-5)


def test_gauss_newton_through_such_a_model():
    solver, start = GaussNewton(iterations=3), torch.randn(2, 2, 6, 8, generator=torch.Generator().manual_seed(1))
    target = by_formula(*3 * [start[:1] + 0.1])[0]
    found, expected = (solver.solve(lambda z, attention=attention: attention(z, z, z), start, target)
                       for attention in (own_choice, by_formula))
    torch.testing.assert_close(found.latents, expected.latents, rtol=1e-3, atol=1e-3)
    assert (found.residual_after < found.residual_before).all()
