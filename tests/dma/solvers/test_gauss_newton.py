"""Gauss-Newton against the explicit Jacobian, and the models it cannot work with."""
import pytest
import torch

from mental_averages.dma.solvers import LBFGS, GaussNewton


def test_a_step_of_gauss_newton_against_the_explicit_jacobian(problem):
    """With enough inner iterations, (J^T J + shift) d = J^T (A - H) to rounding."""
    features, start, target, _ = problem
    damping = torch.tensor([0.01, 0.3], dtype=torch.float64)
    step, predicted = GaussNewton(inner=40).step(features, start[:2], target, damping)
    for row in range(2):
        jacobian = torch.autograd.functional.jacobian(lambda z: features(z[None])[0], start[row])
        difference = target - features(start[row : row + 1])[0]
        gradient = jacobian.T @ difference
        shift = damping[row] * (jacobian @ gradient).square().sum() / gradient.square().sum()
        expected = torch.linalg.solve(jacobian.T @ jacobian + shift * torch.eye(12), gradient)
        torch.testing.assert_close(step[row], expected, rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(predicted[row], (difference - jacobian @ expected).square().sum(), rtol=1e-6,
                                   atol=1e-12)


def test_gauss_newton_differentiates_attention_twice():
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(8, 8, generator=generator) / 3

    def attend(z):
        tokens = z.view(len(z), 1, 4, 8) @ matrix
        return torch.nn.functional.scaled_dot_product_attention(tokens, tokens, tokens).flatten(1)

    start = torch.randn(3, 32, generator=generator)
    match = GaussNewton(iterations=4).solve(attend, start, attend(start[:1] + 0.3)[0])
    assert (match.residual_after < 0.5 * match.residual_before).all()


def test_a_model_that_cannot_be_differentiated_twice_is_named(problem):
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(context, z):
            context.save_for_backward(z)
            return z.square()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(context, gradient):
            return 2 * context.saved_tensors[0] * gradient

    with pytest.raises(ValueError, match="differentiated twice"):
        GaussNewton().solve(Once.apply, torch.ones(1, 3), torch.zeros(3) + 2)

    class Detached(Once):
        """Its backward pass records nothing, as that of a block checkpoint."""

        @staticmethod
        def backward(context, gradient):
            with torch.no_grad():
                return 2 * context.saved_tensors[0] * gradient

    with pytest.raises(ValueError, match="block checkpoints"):
        GaussNewton().solve(Detached.apply, torch.ones(1, 3), torch.zeros(3) + 2)
    assert LBFGS(iterations=30).solve(Once.apply, torch.ones(1, 3), torch.zeros(3) + 2).residual_after < 1e-4


@pytest.mark.parametrize("change, message", [(dict(inner=0), "inner"), (dict(damping=-1.0), "damping"),
                                             (dict(damping=float("nan")), "damping")])
def test_options_that_make_no_sense(change, message):
    with pytest.raises(ValueError, match=message):
        GaussNewton(**change)
