"""L-BFGS on problems whose answer is known."""
import pytest
import torch

from mental_averages.dma.solvers import LBFGS


def test_a_quadratic_of_n_numbers_is_solved_in_about_n_iterations(linear_problem):
    features, start, target, matrix = linear_problem
    match = LBFGS(iterations=60, tolerance=1e-16, memory=12).solve(features, start, target)
    torch.testing.assert_close(match.latents, torch.linalg.lstsq(matrix, target).solution.expand(5, -1), rtol=0,
                               atol=1e-6)
    assert (match.iterations <= 40).all()


def test_the_first_step_needs_no_unit(linear_problem):
    """Polyak's step, f / |g|^2 along the gradient, whatever the learning rate of another solver would be."""
    features, start, target, matrix = linear_problem
    asked = []

    def noted(z):
        asked.append(z.detach().clone())
        return features(z)

    LBFGS(iterations=1).solve(noted, start[:1], target)
    difference = features(start[:1]) - target
    value, gradient = difference.square().sum() / target.square().sum(), 2 * difference @ matrix / target.square().sum()
    torch.testing.assert_close(asked[1], start[:1] - value / gradient.square().sum() * gradient)


def test_options_that_make_no_sense():
    with pytest.raises(ValueError, match="memory cannot be 0"):
        LBFGS(memory=0)
