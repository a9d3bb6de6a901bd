"""The loop of an inversion: what it hands out, what it leaves alone, and what it refuses."""
import math

import pytest
import torch
from ode_toys import Network, Shifted, pictures, schedule

from mental_averages.dma.diffusion import Parametrization, initial_latent
from mental_averages.dma.execution import BatchSize
from mental_averages.dma.inversion import Bdia, Ddim, FixedPoint, check_clean, invert, way_back

EPS, FLOW = Parametrization.EPS, Parametrization.FLOW


def test_trajectory_and_inputs(parametrization):
    network, clean = Network(parametrization), pictures()
    kept, levels = clean.clone(), schedule(parametrization, 5)
    found = invert(network, clean, levels)
    trajectory = found.trajectory
    assert trajectory.latents.shape == (3, 3, 4, 3, 3) and trajectory.latents.dtype == torch.float32
    assert torch.equal(trajectory.latents[0], clean) and torch.equal(clean, kept)
    assert torch.equal(invert(network, clean, levels.flip(0)).trajectory.latents, trajectory.latents)
    restored = initial_latent(parametrization, trajectory.noise, trajectory.levels[-1])
    torch.testing.assert_close(restored, trajectory.latents[-1])
    assert found.report.calls == 5 and len(found.report.steps) == 5 and len(found.report.steps[0].residual) == 3


@pytest.mark.parametrize("steps", [1, 2, 3, 6])
def test_a_trajectory_keeps_the_latents_of_its_ends_unless_all_are_asked_for(steps):
    network, levels = Network(FLOW), schedule(FLOW, steps)
    some, every = (invert(network, pictures(), levels, measure=False, whole=whole).trajectory.latents
                   for whole in (False, True))
    assert len(every) == steps + 1 and len(some) == min(3, steps + 1)
    assert torch.equal(some[0], every[0]) and torch.equal(some[-2:], every[-2:])


@pytest.mark.parametrize("levels",
                         [[1.0], [], [0.0, 0.5, 0.5, 1.0], [0.0, 0.7, 0.3], [-0.1, 0.5], [0.0, math.nan, 1.0]])
def test_levels_that_make_no_sense(levels):
    with pytest.raises(ValueError, match="noise levels"):
        invert(Network(FLOW), pictures(), torch.tensor(levels))


def test_latents_that_make_no_sense():
    network, levels = Network(EPS), schedule(EPS, 3)
    for clean in (torch.zeros(0, 4, 3, 3), torch.full((1, 4, 3, 3), math.nan)):
        with pytest.raises(ValueError, match="no latent to invert"):
            invert(network, clean, levels)
        with pytest.raises(ValueError, match="no latent to invert"):
            check_clean(clean)


def test_every_finished_batch_is_heard_of():
    heard = []
    found = invert(Network(EPS), pictures(), schedule(EPS, 2), batch=BatchSize(2),
                   watchers=[lambda event, state: heard.append((event, state.seconds))])
    events = [event for event, _ in heard]
    assert [(event.kind, event.amount, event.row, event.rows) for event in events] == 2 * [
        ("ascend", 2, 2, 3), ("ascend", 1, 3, 3)] + 2 * [("descend", 2, 2, 3), ("descend", 1, 3, 3)]
    assert all(event.clean.shape == (1, 4, 3, 3) for event in events)
    assert found.report.seconds == heard[-1][1] > 0


def test_a_batch_that_runs_out_of_memory_at_its_end_is_there_once(monkeypatch):
    from mental_averages.dma.inversion import _invert

    pointed_at, calls = _invert.pointed_at, []

    def short_of_memory(*given):
        calls.append(given)
        if len(calls) == 1:
            raise torch.OutOfMemoryError("out of memory")
        return pointed_at(*given)

    expected = invert(Network(EPS), pictures(), schedule(EPS, 2), batch=BatchSize(1))
    monkeypatch.setattr(_invert, "pointed_at", short_of_memory)
    found = invert(Network(EPS), pictures(), schedule(EPS, 2), batch=BatchSize(2))
    torch.testing.assert_close(found.trajectory.latents, expected.trajectory.latents)
    assert len(found.report.steps[0].residual) == 3


def test_settings_of_the_report_are_those_of_the_method_and_the_rising_levels():
    report = invert(Network(EPS), pictures(), schedule(EPS, 2), method=Ddim("source"), measure=False).report
    levels = schedule(EPS, 2).flip(0).tolist()
    assert report.settings == {"method": "ddim", "told": "source", "count": 3, "sigmas": levels}
    assert report.round_trip is None and not report.steps[0].residual


@pytest.mark.parametrize("method", [Ddim(), Bdia(), FixedPoint(1e-6)])
def test_each_latent_keeps_what_is_its_own(parametrization, method):
    """A Denoiser with something for each latent gives the same in any batches, and for the latent alone."""
    shifts, clean, levels = torch.linspace(-0.5, 0.5, 5), pictures(5), schedule(parametrization, 12)
    whole = invert(Shifted(parametrization, shifts), clean, levels, method=method)
    parts = invert(Shifted(parametrization, shifts), clean, levels, method=method, batch=BatchSize(2))
    alone = invert(Shifted(parametrization, shifts[3:4]), clean[3:4], levels, method=method)
    torch.testing.assert_close(parts.trajectory.latents, whole.trajectory.latents, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(alone.trajectory.latents[:, 0], whole.trajectory.latents[:, 3], rtol=1e-3, atol=1e-4)
    back = way_back(Shifted(parametrization, shifts), whole.trajectory.noise, whole.trajectory, batch=BatchSize(3))
    mse = (back - clean).square().flatten(1).mean(1)
    torch.testing.assert_close(mse, torch.tensor(whole.report.round_trip.mse), rtol=1e-2, atol=1e-7)
    assert parts.report.calls == whole.report.calls
