"""Back from steps that have ended in NaN or infinity."""
import math

import pytest
import torch

from mental_averages.dma.solvers import LBFGS, Adam, Backtracking, GaussNewton

WALL = 3.0


def cube(beyond):
    """z^3, and something that is no number beyond 3: the first step towards 20 from 1 goes there."""
    def features(z):
        return torch.where(z.abs() > WALL, beyond, z**3)

    return features


SOLVERS = [LBFGS(iterations=60), GaussNewton(iterations=40), Adam(learning_rate=1.5, iterations=300)]


@pytest.mark.parametrize("beyond", [math.nan, math.inf])
@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: type(solver).__name__)
def test_a_trial_that_is_not_finite_is_a_rejected_step(solver, beyond):
    start, target = torch.tensor([[0.3], [1.0], [2.5]]), torch.tensor([20.0])
    match = solver.solve(cube(beyond), start, target)
    assert (match.residual_after < 1e-3).all(), match.residual_after
    torch.testing.assert_close(match.latents, torch.full((3, 1), 20 ** (1 / 3)), rtol=2e-2, atol=0)


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: type(solver).__name__)
def test_a_row_beside_one_that_cannot_start_is_solved(solver):
    match = solver.solve(cube(math.nan), torch.tensor([[5.0], [1.0]]), torch.tensor([20.0]))
    assert match.residual_before[0] == match.residual_after[0] == math.inf and match.iterations[0] == 0
    assert match.residual_after[1] < 1e-3 and match.latents[0] == 5


@pytest.mark.parametrize("solver", SOLVERS[::2], ids=lambda solver: type(solver).__name__)
def test_a_gradient_that_is_not_finite_is_not_followed(solver):
    """The derivative of sqrt at 0 is infinite, while its value is a number."""
    match = solver.solve(lambda z: z.abs().sqrt(), torch.tensor([[0.0], [1.0]]), torch.tensor([2.0]))
    assert match.latents.isfinite().all() and match.residual_after[1] < 1e-2 and match.residual_after[0] <= 1


def test_rows_that_leave_take_their_place_with_them():
    rows = Backtracking(torch.arange(3.0)[:, None], torch.zeros(3, 1))
    rows.accepted(torch.tensor([[5.0], [math.nan], [7.0]]), torch.ones(3, 1))
    rows.keep(torch.tensor([False, True, True]))
    assert rows.point.flatten().tolist() == [1, 7]
    assert rows.towards(torch.full((2, 1), 9.0)).flatten().tolist() == [5, 9]
    rows.accepted(torch.ones(2, 1), torch.ones(2, 1), torch.tensor([math.inf, 1.0]))
    assert rows.point.flatten().tolist() == [1, 1] and rows.share.tolist() == [0.25, 1]
