"""What every solver promises, and that a solver of one's own needs no more than the protocol."""
import json
from dataclasses import dataclass

import pytest
import torch
from toys import LinearGaussian, sigmas

from mental_averages.dma.alignment import AlignmentSettings, Monitor, align
from mental_averages.dma.solvers import LBFGS, Adam, GaussNewton, Match, iterates_of

SOLVERS = [Adam(learning_rate=0.05, iterations=2000), LBFGS(iterations=150), GaussNewton(iterations=10, inner=12)]
NAMES = [type(solver).__name__ for solver in SOLVERS]


@pytest.mark.parametrize("solver", SOLVERS, ids=NAMES)
def test_the_least_squares_solution_of_an_inconsistent_linear_problem(problem, solver):
    _, start, target, matrix = problem
    off = target + 0.3 * torch.randn(30, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    match = solver.solve(lambda z: z @ matrix.T, start, off)
    expected = torch.linalg.lstsq(matrix, off).solution
    residual = (matrix @ expected - off).square().sum() / off.square().sum()
    torch.testing.assert_close(match.residual_after, residual.expand(5), rtol=1e-3, atol=0)
    assert residual > 0.02


@pytest.mark.parametrize("solver", SOLVERS, ids=NAMES)
def test_a_nonlinear_problem_is_solved_and_the_residual_is_that_of_the_latents(problem, solver):
    features, start, target, _ = problem
    with torch.no_grad():  # as inside ComfyUI
        match = solver.solve(features, start, target)
    assert (match.residual_after < 1e-3).all() and (match.residual_before > 0.05).all()
    torch.testing.assert_close((features(match.latents) - target).square().sum(1) / target.square().sum(),
                               match.residual_after)


def ended(iterates, told):
    while True:
        try:
            told.append(next(iterates))
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize("solver", [LBFGS(iterations=9, plateau=0.3), GaussNewton(iterations=5, tolerance=1e-3),
                                    Adam(0.05, 9, plateau=0.05, patience=2)], ids=["LBFGS", "GaussNewton", "Adam"])
def test_every_iteration_is_told_of_and_can_be_gone_on_from_to_the_last_bit(problem, solver):
    features, start, target, _ = problem
    whole, told = solver.solve(features, start, target), []
    kinds = ("latents", "residual_before", "residual_after", "iterations", "forwards", "backwards")
    found = ended(iterates_of(solver, features, start, target), told)
    assert all(torch.equal(getattr(found, kind), getattr(whole, kind)) for kind in kinds)
    assert [iterate.iteration for iterate in told] == list(range(1, len(told) + 1)) and len(told) >= 3
    assert torch.equal(told[-1].iterations, whole.iterations) and told[0].most == solver.iterations
    for iterate in told:
        memory = {name: value.clone() for name, value in iterate.memory.items()}
        left = []
        again = ended(iterates_of(solver, features, start, target, memory), left)
        assert all(torch.equal(getattr(again, kind), getattr(whole, kind)) for kind in kinds)
        assert len(left) == len(told) - iterate.iteration
        # What was told stays as it is, so that it can be saved at any time.
        assert all(torch.equal(memory[name], value) for name, value in iterate.memory.items())
        at = (features(iterate.latents) - target).square().sum(1) / target.square().sum()
        torch.testing.assert_close(at, iterate.residual)


@pytest.mark.parametrize("solver", [LBFGS(iterations=30, tolerance=1e-3), GaussNewton(iterations=6, tolerance=1e-3),
                                    LBFGS(iterations=60, plateau=0.3), Adam(0.05, 200, plateau=0.3)],
                         ids=["LBFGS", "GaussNewton", "LBFGS plateau", "Adam plateau"])
def test_latents_do_not_depend_on_their_batch(problem, solver):
    features, start, target, _ = problem
    together = solver.solve(features, start, target)
    for row in range(5):
        alone = solver.solve(features, start[row : row + 1], target)
        for name in ("latents", "residual_before", "residual_after", "iterations", "forwards", "backwards"):
            torch.testing.assert_close(getattr(alone, name)[0], getattr(together, name)[row], rtol=1e-6, atol=1e-9)
    assert len(set(together.iterations.tolist())) > 1


@pytest.mark.parametrize("solver", SOLVERS, ids=NAMES)
def test_the_unit_of_features_makes_no_difference(problem, solver):
    """Residuals are relative, so features a thousand times larger take the same path (Adam: up to its epsilon)."""
    features, start, target, _ = problem
    match, scaled = solver.solve(features, start,
                                 target), solver.solve(lambda z: 1000 * features(z), start, 1000 * target)
    torch.testing.assert_close(match.residual_after, scaled.residual_after, rtol=1e-2, atol=1e-7)


@pytest.mark.parametrize("solver", [LBFGS(iterations=50, tolerance=1e-9), GaussNewton(tolerance=1e-9)],
                         ids=["LBFGS", "GaussNewton"])
def test_an_agreeing_latent_is_not_touched(problem, solver):
    features, start, _, _ = problem
    match = solver.solve(features, start[:1], features(start[0]))
    torch.testing.assert_close(match.latents, start[:1], rtol=0, atol=0)
    assert match.iterations.tolist() == [0] and match.forwards.tolist() == [1] and match.backwards.tolist() == [0]


@pytest.mark.parametrize("solver", [LBFGS(iterations=40, plateau=0.02), Adam(0.05, 400, plateau=0.02),
                                    GaussNewton(iterations=12, plateau=0.02)],
                         ids=["LBFGS", "Adam", "GaussNewton"])
def test_a_plateau_ends_the_search_for_what_cannot_be_reached(solver):
    generator = torch.Generator().manual_seed(2)
    matrix, start = torch.randn(30, 12, generator=generator), torch.randn(5, 12, generator=generator)
    target = matrix @ torch.randn(12, generator=generator) + 3 * torch.randn(30, generator=generator)
    floor = (matrix @ torch.linalg.lstsq(matrix, target).solution - target).square().sum() / target.square().sum()
    match = solver.solve(lambda z: z @ matrix.T, start, target)
    assert (match.iterations < solver.iterations).all() and floor > 0.1
    assert (match.residual_after < 1.1 * floor).all()


def test_passes_are_counted(problem):
    """What a solver says it has spent on a latent is what the model was asked for."""
    features, start, target, _ = problem
    calls = []

    def counted(z):
        calls.append(len(z))
        return features(z)

    for solver in (Adam(iterations=7), LBFGS(iterations=7), GaussNewton(iterations=3)):
        calls.clear()
        match = solver.solve(counted, start[:1], target)
        assert match.forwards.item() == sum(calls)
        assert (match.forwards.item(), match.backwards.item()) == solver.most_passes


def test_a_failing_step_is_taken_back():
    """Features that overflow beyond a small region: steps out of it are rejected, and the best latent is returned."""
    features = lambda z: torch.exp(torch.exp(z.abs().clamp_max(8)))  # noqa: E731
    for solver in (LBFGS(iterations=60), GaussNewton(iterations=25)):
        match = solver.solve(features, torch.full((2, 3), 0.2, dtype=torch.float64),
                             torch.full((3,), 15.0, dtype=torch.float64))
        assert (match.residual_after < 1e-3).all() and torch.isfinite(match.latents).all()


@dataclass(frozen=True)
class Descent:
    """Gradient descent with a fixed number of steps: all that `dma.solvers.Solver` asks for."""

    rate: float = 0.1
    steps: int = 25

    @property
    def most_passes(self):
        return self.steps + 1, self.steps

    def expected_iterations(self, past, residual, steps):
        return float(self.steps * steps)

    def solve(self, features, start, target):
        z, energy, seen = start.clone(), target.square().sum(), []
        for step in range(self.steps + 1):
            with torch.enable_grad():
                leaf = z.detach().requires_grad_()
                difference = (features(leaf) - target).square().flatten(1).sum(1)
                (gradient,) = torch.autograd.grad(difference.sum(), leaf)
            seen.append(difference.detach() / energy)
            z = z if step == self.steps else z - self.rate * gradient
        steps = torch.full((len(start),), self.steps)
        return Match(z, seen[0], seen[-1], steps, steps + 1, steps)


def test_a_solver_of_ones_own_aligns():
    settings = AlignmentSettings(count=6, aligned_steps=3, keep=6, seed=3, solver=Descent())
    events = []
    result = align(LinearGaussian(), sigmas(), (2, 3, 3), settings,
                   watchers=[Monitor(events.append, settings, sigmas())])
    assert [step.iterations for step in result.report.steps] == [[25] * 6] * 3
    assert result.report.final_residual < 0.01 * sum(result.report.steps[0].residual_before) / 6
    assert events[-1].fraction == pytest.approx(1) and events[-1].seconds_left is not None
    assert json.loads(result.report.to_json())["settings"]["solver"] == {"rate": 0.1, "steps": 25}
