"""The implicit step: solved, kept at its best where it cannot be, and accelerated."""
import math

import pytest
import torch
from ode_toys import Network, pictures, schedule

from mental_averages.dma.diffusion import Parametrization
from mental_averages.dma.execution import BatchSize
from mental_averages.dma.inversion import Ddim, FixedPoint, InvertedStep, _fixed_point, at_floor, invert, unsolved
from mental_averages.dma.solvers import anderson_step

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


@pytest.mark.parametrize("history", [1, 2, 3, 5])
def test_a_longer_history_solves_what_a_shorter_one_does(history):
    """At one step of the last latent mixtures lead astray, and away from the solution for good if they are kept."""
    network, clean, levels = Network(EPS), pictures(), schedule(EPS, 8)
    found, plain = (invert(network, clean, levels, method=FixedPoint(1e-6, 60, each), measure=False).report
                    for each in (history, 0))
    assert unsolved(found.steps, 1e-6)[0] == 0 and found.calls < 0.8 * plain.calls


@pytest.mark.parametrize("history", [0, 1, 3, 10])
def test_as_many_earlier_iterates_are_mixed_as_there_are_and_history_says(history, monkeypatch):
    mixed = []
    monkeypatch.setattr(_fixed_point, "anderson_step",
                        lambda iterates, changes, earlier: mixed.append(len(iterates))
                        or anderson_step(iterates, changes, earlier))
    invert(Network(FLOW), pictures(1), schedule(FLOW, 1), method=FixedPoint(0.0, 8, history), measure=False)
    assert mixed == [1 + min(history, earlier) for earlier in range(8)]


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


class Noisy(Network):
    """A Network whose answers are rounded as a deep one of bfloat16 rounds them: otherwise at every latent."""

    rounding = 2**-5

    def output(self, z, timestep):
        found = super().output(z, timestep)
        generator = torch.Generator().manual_seed(int(1e9 * z.double().abs().sum().item()) % 2**31)
        return found * (1 + 2**-8 * torch.randn(found.shape, generator=generator))


@pytest.mark.parametrize("history", [0, 3])
def test_a_latent_stops_where_the_rounding_of_the_model_leaves_it(parametrization, history, monkeypatch):
    clean, levels, method = pictures(1, size=16), schedule(parametrization, 20), FixedPoint(history=history)
    found = invert(Noisy(parametrization), clean, levels, method=method, measure=False).report
    monkeypatch.setattr(Noisy, "rounding", 0.0)
    longer = invert(Noisy(parametrization), clean, levels, method=method, measure=False).report
    residuals = at_floor(found.steps, method)
    assert found.calls < 250 < 400 < longer.calls
    assert len(residuals) == unsolved(found.steps, method.tolerance)[0] > 15
    for step, other in zip(found.steps, longer.steps):
        assert step.residual[0] < max(2 * other.residual[0], 1.01e-5), "as near as more corrections come"


@pytest.mark.parametrize("strength, steps, history", [(1.5, 8, 3), (6.0, 20, 0)])
def test_an_iteration_that_pauses_goes_on_in_single_precision(strength, steps, history):
    """Steps that are hard to solve, whose residuals stand still for a while and then fall to the tolerance."""
    class Hard(Network):
        rounding = 1e-5

    network = Hard(EPS)
    network.strength = strength
    clean, levels, method = pictures(), schedule(EPS, steps), FixedPoint(history=history)
    found = invert(network, clean, levels, method=method, measure=False).report
    network.rounding = 0.0
    longest = invert(network, clean, levels, method=method, measure=False).report
    assert [step.residual for step in found.steps] == [step.residual for step in longest.steps]


@pytest.mark.parametrize("contraction, history", [(0.98, 0), (-0.98, 0), (0.9, 0), (0.98, 3), (0.99, 0)])
def test_a_slow_contraction_is_not_taken_for_the_floor(contraction, history):
    class Slow:
        device, parametrization, rounding = torch.device("cpu"), FLOW, 1e-5

        def denoise(self, x, sigma):
            return x - sigma * (contraction * x + 1e-2)  # a step of length 1 has this contraction

    levels, method = torch.tensor([1.0, 0.0]), FixedPoint(1e-5, 2000, history)
    found = invert(Slow(), pictures(size=16), levels, method=method, measure=False).report
    assert max(found.steps[0].residual) <= 1e-5 and not at_floor(found.steps, method)


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
