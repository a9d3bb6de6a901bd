import pytest
import torch

from mental_averages.dma.solvers import Adam


@pytest.fixture
def problem():
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(30, 12, generator=generator, dtype=torch.float64)
    start = torch.randn(5, 12, generator=generator, dtype=torch.float64)
    target = matrix @ torch.randn(12, generator=generator, dtype=torch.float64)
    return (lambda z: z @ matrix.T), start, target, matrix


def test_iterates_are_those_of_torch_adam(problem):
    features, start, target, _ = problem
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


def test_solution_of_a_consistent_linear_problem(problem):
    features, start, target, matrix = problem
    match = Adam(learning_rate=0.05, iterations=3000).solve(features, start, target)
    expected = torch.linalg.lstsq(matrix, target).solution
    torch.testing.assert_close(match.latents, expected.expand(5, -1), rtol=0, atol=1e-3)
    assert (match.residual_after < 1e-6).all() and (match.residual_before > 0.1).all()


def test_latents_do_not_depend_on_their_batch(problem):
    features, start, target, _ = problem
    solver = Adam(learning_rate=0.05, iterations=200, tolerance=1e-2)
    together = solver.solve(features, start, target)
    for row in range(5):
        alone = solver.solve(features, start[row : row + 1], target)
        torch.testing.assert_close(alone.latents[0], together.latents[row])
        assert alone.iterations[0] == together.iterations[row]
    assert (together.residual_after <= 1e-2).all()
    assert len(set(together.iterations.tolist())) > 1


def test_agreeing_latent_is_not_touched(problem):
    features, start, _, _ = problem
    match = Adam(iterations=50, tolerance=1e-9).solve(features, start[:1], features(start[0]))
    torch.testing.assert_close(match.latents, start[:1], rtol=0, atol=0)
    assert match.iterations.tolist() == [0]


def test_fresh_adam_never_returns_something_worse(problem):
    features, start, _, _ = problem
    near = features(start[0]) * (1 + 1e-9)
    match = Adam(learning_rate=0.5, iterations=3).solve(features, start[:1], near)
    assert (match.residual_after <= match.residual_before).all()


def test_zero_iterations_measure_only(problem):
    features, start, target, _ = problem
    match = Adam(iterations=0).solve(features, start, target)
    torch.testing.assert_close(match.latents, start)
    torch.testing.assert_close(match.residual_before, match.residual_after)


def test_gradient_against_central_differences(problem):
    features, start, target, _ = problem
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
