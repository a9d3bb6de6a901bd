"""Adam against PyTorch's own, closed forms and central differences."""
import math

import pytest
import torch

from mental_averages.dma.solvers import Adam, AdamToShare


def test_iterates_are_those_of_torch_adam(linear_problem):
    features, start, target, _ = linear_problem
    reference = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([reference], lr=0.02)
    for _ in range(37):
        optimiser.zero_grad()
        (features(reference) - target).square().sum().backward()
        optimiser.step()
    match = Adam(learning_rate=0.02, iterations=37).solve(features, start, target)
    # Residuals fall throughout on this problem, so the best iterate is the last.
    torch.testing.assert_close(match.latents, reference.detach(), rtol=1e-9, atol=1e-9)
    assert match.iterations.tolist() == [37] * 5


def test_solution_of_a_consistent_linear_problem(linear_problem):
    features, start, target, matrix = linear_problem
    match = Adam(learning_rate=0.05, iterations=3000).solve(features, start, target)
    expected = torch.linalg.lstsq(matrix, target).solution
    torch.testing.assert_close(match.latents, expected.expand(5, -1), rtol=0, atol=1e-3)
    assert (match.residual_after < 1e-6).all() and (match.residual_before > 0.1).all()


def test_latents_do_not_depend_on_their_batch(linear_problem):
    features, start, target, _ = linear_problem
    solver = Adam(learning_rate=0.05, iterations=200, tolerance=1e-2)
    together = solver.solve(features, start, target)
    for row in range(5):
        alone = solver.solve(features, start[row : row + 1], target)
        torch.testing.assert_close(alone.latents[0], together.latents[row])
        assert alone.iterations[0] == together.iterations[row]
    assert (together.residual_after <= 1e-2).all()
    assert len(set(together.iterations.tolist())) > 1


def test_agreeing_latent_is_not_touched(linear_problem):
    features, start, _, _ = linear_problem
    match = Adam(iterations=50, tolerance=1e-9).solve(features, start[:1], features(start[0]))
    torch.testing.assert_close(match.latents, start[:1], rtol=0, atol=0)
    assert match.iterations.tolist() == [0]


def test_fresh_adam_never_returns_something_worse(linear_problem):
    features, start, _, _ = linear_problem
    near = features(start[0]) * (1 + 1e-9)
    match = Adam(learning_rate=0.5, iterations=3).solve(features, start[:1], near)
    assert (match.residual_after <= match.residual_before).all()


def test_zero_iterations_measure_only(linear_problem):
    features, start, target, _ = linear_problem
    match = Adam(iterations=0).solve(features, start, target)
    torch.testing.assert_close(match.latents, start)
    torch.testing.assert_close(match.residual_before, match.residual_after)


def test_gradient_against_central_differences(linear_problem):
    features, start, target, _ = linear_problem
    nonlinear = lambda z: torch.tanh(features(z))  # noqa: E731
    z = start[:1].clone().requires_grad_()
    (gradient,) = torch.autograd.grad((nonlinear(z) - target).square().sum(), z)
    match = Adam(learning_rate=1e-3, iterations=1, tolerance=0.0).solve(nonlinear, start[:1], target)
    # The first step of Adam is the learning rate times the sign of the gradient.
    torch.testing.assert_close(match.latents - start[:1], -1e-3 * gradient.sign(), rtol=1e-4, atol=1e-9)
    for index in range(12):
        offset = torch.zeros_like(start[:1])
        offset[0, index] = 1e-6
        higher, lower = ((nonlinear(start[:1] + sign * offset) - target).square().sum() for sign in (1, -1))
        assert abs((higher - lower) / 2e-6 - gradient[0, index]) < 1e-5 * gradient.abs().max()


@pytest.mark.parametrize("change, message", [
    (dict(learning_rate=math.nan), "learning_rate cannot be nan"), (dict(learning_rate=math.inf), "learning_rate"),
    (dict(learning_rate=-0.1), "learning_rate"), (dict(beta1=1.0), "beta1"), (dict(beta2=-0.1), "beta2"),
    (dict(epsilon=-1e-8), "epsilon"),
])
def test_options_that_make_no_sense(change, message):
    with pytest.raises(ValueError, match=message):
        Adam(**change)


def test_a_latent_is_done_at_its_share_of_its_own_first_residual(linear_problem):
    features, start, target, _ = linear_problem
    match = AdamToShare(learning_rate=0.02, iterations=300, share=0.3).solve(features, start, target)
    assert (match.residual_after <= 0.3 * match.residual_before).all()
    for row, steps in enumerate(match.iterations.tolist()):
        # One step less does not suffice, and what comes before the end is Adam's.
        earlier = Adam(learning_rate=0.02, iterations=steps - 1).solve(features, start[row : row + 1], target)
        assert earlier.residual_after > 0.3 * match.residual_before[row]
        plain = Adam(learning_rate=0.02, iterations=steps).solve(features, start[row : row + 1], target)
        torch.testing.assert_close(plain.latents[0], match.latents[row], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_a_share_lies_between_0_and_1(share):
    with pytest.raises(ValueError, match="share"):
        AdamToShare(share=share)
