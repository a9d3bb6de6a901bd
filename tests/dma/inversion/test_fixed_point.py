"""The implicit step: solved, kept at its best where it cannot be, and accelerated."""
import math

import pytest
import torch
from ode_toys import Network, pictures, schedule

from mental_averages.dma.diffusion import Parametrization
from mental_averages.dma.execution import BatchSize
from mental_averages.dma.inversion import Ddim, FixedPoint, InvertedStep, invert, unsolved

EPS, FLOW = Parametrization.EPS, Parametrization.FLOW


def test_fixed_point_solves_the_implicit_step_and_beats_the_explicit_one(parametrization):
    network, clean, levels = Network(parametrization), pictures(), schedule(parametrization, 8)
    explicit, implicit = (invert(network, clean, levels, method=method).report
                          for method in (Ddim(), FixedPoint(1e-6, 60)))
    for step in implicit.steps:
        assert max(step.residual) <= 1e-6 and all(1 <= count <= 60 for count in step.iterations)
    assert max(implicit.round_trip.relative) < 1e-4
    assert max(implicit.round_trip.relative) < 0.05 * min(explicit.round_trip.relative)
    assert min(implicit.round_trip.psnr) > max(explicit.round_trip.psnr) + 20
    assert implicit.calls == pytest.approx(sum(2 + sum(step.iterations) / 3 for step in implicit.steps))


def test_fixed_point_that_cannot_converge_keeps_its_best_iterate():
    network, clean = Network(FLOW, strength=40.0), pictures()
    levels = schedule(FLOW, 2)
    steps = invert(network, clean, levels, method=FixedPoint(1e-6, 5)).report.steps
    start = invert(network, clean, levels, method=FixedPoint(1e-6, 0)).report.steps
    assert (max(steps[0].residual) > 1e-6
            and all(found <= first for found, first in zip(steps[0].residual, start[0].residual)))


def test_acceleration_saves_calls_and_finds_the_same():
    network, clean, levels = Network(FLOW, strength=1.2), pictures(), schedule(FLOW, 8)
    plain, accelerated = (invert(network, clean, levels, method=FixedPoint(1e-6, 60, history), measure=False)
                          for history in (0, 3))
    assert accelerated.report.calls < plain.report.calls
    torch.testing.assert_close(accelerated.trajectory.latents, plain.trajectory.latents, rtol=1e-3, atol=1e-3)


def test_every_iteration_is_told_of():
    heard = []
    invert(Network(FLOW), pictures(), schedule(FLOW, 3), method=FixedPoint(0.0, 4), batch=BatchSize(2), measure=False,
           watchers=[lambda event, state: heard.append(event)])
    assert [(event.row, event.iteration) for event in heard] == 3 * [
        *[(0, number) for number in (1, 2, 3, 4)], (2, 0), *[(2, number) for number in (1, 2, 3, 4)], (3, 0)]
    assert [event.under_way for event in heard[:5]] == pytest.approx([0.4, 0.8, 1.2, 1.6, 0])
    assert sum(event.amount for event in heard) == 9, "iterations are no latents"


def test_settings_that_make_no_sense():
    with pytest.raises(ValueError, match="cannot be negative"):
        invert(Network(EPS), pictures(), schedule(EPS, 3), method=FixedPoint(-1.0))


def test_steps_of_single_latents_that_did_not_arrive():
    steps = [InvertedStep(0.5, [1e-6, 2e-3], [3, 4], [1.0, 1.0]), InvertedStep(1.0, [1e-5, 1e-4], [3, 4], [1.0, 1.0])]
    assert unsolved(steps, 1e-5) == (2, 4)


@pytest.mark.parametrize("beyond", [math.nan, math.inf])
@pytest.mark.parametrize("history", [0, 3])
def test_an_iterate_without_an_answer_is_taken_back(beyond, history):
    """The explicit step lands where the model gives no numbers; the solution is nearer."""
    class Walled(Network):
        def output(self, z, timestep):
            found = -4 * torch.tanh(z)
            return found if timestep == 500 and not self.inside else torch.where(z.abs() > 1.1, beyond, found)

    network, clean, levels = Walled(FLOW), 0.9 * pictures().sign(), torch.tensor([1.0, 0.5, 0.0])
    network.inside = False
    solved = invert(network, clean, levels, method=FixedPoint(1e-5, 60, history), measure=False).report
    network.inside = True
    found = invert(network, clean, levels, method=FixedPoint(1e-5, 60, history), measure=False).report
    assert max(max(step.residual) for step in found.steps) <= 1e-5 and solved.steps
