"""How much work an alignment does, what it keeps in memory, and what it says about the time left."""
import dataclasses
import gc
import math
import time

import pytest
import torch
from memory import Memory, copied
from toys import LinearGaussian, sigmas

from mental_averages.dma.alignment import (
    AlignedStep,
    AlignmentReport,
    AlignmentSettings,
    Monitor,
    State,
    align,
    iterations_ahead,
)
from mental_averages.dma.diffusion import NoiseRows, starting_noise
from mental_averages.dma.execution import BatchSize, Checkpoint
from mental_averages.dma.solvers import LBFGS, Adam

SHAPE = (2, 3, 3)
SETTINGS = AlignmentSettings(count=60, aligned_steps=2, keep=2, carried=3, seed=3,
                             solver=LBFGS(iterations=30, tolerance=1e-8))


class Biased(LinearGaussian):
    """Features whose mean over standard normal latents is not zero: its error falls with their number."""

    def features(self, x, sigma):
        return super().features(x, sigma) + 1


@pytest.mark.parametrize("count, shape", [(1, (1, 1, 1)), (17, (1, 1, 3)), (40, (4, 8, 8)), (95, (3, 5, 7))])
@pytest.mark.parametrize("size", [1, 5, 16, 100])
def test_noise_in_parts_is_noise_at_once(count, shape, size):
    rows = NoiseRows(count, shape, 11)
    parts = [rows[start : min(start + size, count)] for start in range(0, count, size)]
    assert torch.equal(torch.cat(parts), starting_noise(count, shape, 11))


def test_noise_rows_can_be_asked_for_again_after_running_out_of_memory():
    rows, reference = NoiseRows(50, SHAPE, 1), starting_noise(50, SHAPE, 1)
    for wanted in (slice(0, 20), slice(0, 10), slice(10, 40), slice(10, 25), slice(25, 50)):
        assert torch.equal(rows[wanted], reference[wanted])


@pytest.mark.parametrize("batch_size", [1, 7, 60])
def test_the_error_of_the_mean_decides_how_many_are_averaged(batch_size):
    """The same count for every batch size: the smallest multiple of 16 whose error is small enough."""
    settings, denoiser = dataclasses.replace(SETTINGS, count=400, mean_error=0.11), Biased()
    result = align(denoiser, sigmas(), SHAPE, settings, batch=BatchSize(batch_size))
    x = starting_noise(400, SHAPE, 3) * (1 + sigmas()[0].item() ** 2) ** 0.5
    features = Biased().features(x, sigmas()[0].item()).double()
    errors = {count: ((features[:count].var(0).sum() / count).sqrt() / features[:count].mean(0).norm()).item()
              for count in range(16, 400, 16)}
    expected = min(count for count, error in errors.items() if error <= 0.11)
    step = result.report.steps[0]
    assert (32 < expected < 300 and step.mean_count == expected
            and step.mean_error == pytest.approx(errors[expected], rel=1e-5))
    assert result.report.steps[1].mean_count == 3
    assert denoiser.feature_rows < expected + batch_size + 200


def test_all_latents_are_averaged_where_the_error_stays_too_large():
    result = align(LinearGaussian(), sigmas(), SHAPE, dataclasses.replace(SETTINGS, mean_error=1e-4))
    assert result.report.steps[0].mean_count == 60


def test_no_fewer_are_averaged_than_go_on():
    result = align(LinearGaussian(), sigmas(), SHAPE, dataclasses.replace(SETTINGS, carried=40, mean_error=10.0))
    assert result.report.steps[0].mean_count == 48 and len(result.report.steps[0].residual_after) == 40


def test_all_that_were_averaged_go_on_if_none_are_left_behind():
    settings = dataclasses.replace(SETTINGS, carried=0, mean_error=10.0, keep=20)
    result = align(LinearGaussian(), sigmas(), SHAPE, settings)
    few = align(LinearGaussian(), sigmas(), SHAPE, dataclasses.replace(settings, count=32, mean_error=0.0))
    assert len(result.report.steps[0].residual_after) == 32
    torch.testing.assert_close(result.latents, few.latents)


@pytest.mark.parametrize("own_noise", [0.0, 0.4])
def test_linear_features_are_met_by_the_mean_of_the_noise_itself(own_noise):
    """With a linear H the mean of the latents has the mean of the features: nothing is left to match."""
    solver = LBFGS(iterations=60, tolerance=1e-9)
    settings = dataclasses.replace(SETTINGS, own_noise=own_noise, solver=solver)
    result = align(LinearGaussian(), sigmas(), SHAPE, settings)
    reference = align(LinearGaussian(), sigmas(), SHAPE, dataclasses.replace(settings, own_noise=1.0))
    torch.testing.assert_close(result.latents, reference.latents[: len(result.latents)], rtol=0, atol=2e-3)
    if own_noise == 0:
        assert len(result.latents) == 1 and result.report.steps[0].iterations == [0]
    else:
        before, whole = (run.report.steps[0].residual_before for run in (result, reference))
        assert before == pytest.approx([0.16 * value for value in whole], rel=1e-3)


def test_resume_goes_on_with_the_latents_that_were_drawn():
    settings = dataclasses.replace(SETTINGS, count=200, mean_error=0.15, own_noise=0.5, carried=5,
                                   solver=LBFGS(iterations=4))
    memory = Memory()
    reference = align(Biased(), sigmas(), SHAPE, settings, batch=BatchSize(2),
                      watchers=[Checkpoint(memory, seconds=-1)])
    assert 5 < reference.report.steps[0].mean_count < 200
    for tensors, meta in memory.saves:
        resumed = align(Biased(), sigmas(), SHAPE, settings, batch=BatchSize(2),
                        state=State.unpacked(*copied(tensors, meta)))
        torch.testing.assert_close(resumed.latents, reference.latents, rtol=0, atol=0)
        assert resumed.report.steps == reference.report.steps


def test_progress_rises_to_one_when_fewer_are_averaged_than_planned():
    events = []
    settings = dataclasses.replace(SETTINGS, count=400, mean_error=0.11)
    align(Biased(), sigmas(), SHAPE, settings, batch=BatchSize(5),
          watchers=[Monitor(events.append, settings, sigmas())])
    fractions = [event.fraction for event in events]
    assert fractions == sorted(fractions) and fractions[-1] == pytest.approx(1.0) and fractions[0] < 0.1


def test_passes_in_the_report_are_those_that_the_model_ran():
    denoiser = LinearGaussian()
    report = align(denoiser, sigmas(), SHAPE, SETTINGS, batch=BatchSize(1)).report
    assert denoiser.feature_rows == sum(step.mean_count + sum(step.forwards) for step in report.steps)
    assert all(forward == backward + 1 for step in report.steps
               for forward, backward in zip(step.forwards, step.backwards))


def test_reports_of_version_1_are_still_read():
    import json

    report = align(LinearGaussian(), sigmas(), SHAPE, SETTINGS).report
    data = json.loads(report.to_json())
    assert data["version"] == 2 and AlignmentReport.from_json(report.to_json()).steps == report.steps
    for step in data["steps"]:
        for field in ("mean_count", "forwards", "backwards"):
            del step[field]
    old = AlignmentReport.from_json(json.dumps({**data, "version": 1}))
    assert old.steps[0].mean_count == 0 and old.steps[0].residual_after == report.steps[0].residual_after


class Watched(LinearGaussian):
    """Notes how many latents exist anywhere in the process whenever its features are asked for."""

    most = 0

    def features(self, x, sigma):
        gc.collect()
        alive = {value.untyped_storage().data_ptr(): value.untyped_storage().nbytes() for value in gc.get_objects()
                 if type(value) is torch.Tensor and value.ndim == 4
                 and tuple(value.shape[1:]) == tuple(self.mean.shape)}
        self.most = max(self.most, sum(alive.values()) // (4 * self.mean.numel()))
        return super().features(x, sigma)


def test_latents_that_are_averaged_and_left_behind_are_never_held_together():
    most = {}
    for count in (600, 2000):
        denoiser = Watched(shape=(1, 7, 11))
        settings = dataclasses.replace(SETTINGS, count=count, aligned_steps=1, solver=LBFGS(iterations=1))
        align(denoiser, sigmas(2), (1, 7, 11), settings, batch=BatchSize(200))
        most[count] = denoiser.most
    assert most[2000] < most[600] + 32 < 1200


def record_of(before, after, iterations):
    return AlignedStep(sigma=1.0, mean_error=0.0, spread=0.0, norm=0.0, mean_count=8, residual_before=[before] * 4,
                       residual_after=[after] * 4, iterations=[iterations] * 4, forwards=[0] * 4, backwards=[0] * 4)


def test_iterations_ahead_go_by_what_an_iteration_gained():
    """A residual that halved in each of 10 iterations halves again; each later step starts at a quarter of what was
    left."""
    solver = LBFGS(iterations=40, tolerance=2**-12)
    last = record_of(1.0, 2**-10, 10)
    assert iterations_ahead(solver, [last], 2**-8, 1) == pytest.approx(4)
    assert iterations_ahead(solver, [last], 2**-12, 3) == 0
    # 2^-6 is 16 times what was left: the first of two steps gets to the tolerance in 6, and the second starts at 2^-8.
    assert iterations_ahead(solver, [last], 2**-6, 2) == pytest.approx(6 + 4)
    assert iterations_ahead(dataclasses.replace(solver, tolerance=0.0), [last], 2**-8, 3) == 30


def test_iterations_ahead_lie_between_meeting_a_plateau_again_and_not():
    solver = LBFGS(iterations=40, tolerance=0.001, plateau=0.02)
    ended_on_plateau = record_of(0.12, 0.02, 30)
    again, free = (math.log(4) / (math.log(ratio) / 30) for ratio in (0.12 / 0.02, (0.12 - 0.02) / (0.02 * 0.02)))
    assert iterations_ahead(solver, [ended_on_plateau], 0.004, 1) == pytest.approx(0.75 * again + 0.25 * free)
    assert iterations_ahead(solver, [ended_on_plateau], 0.009, 1) < 30


class Slow(LinearGaussian):
    """Takes a known time for every row: forward, backward and prediction differ as they do in a U-Net."""

    forward, backward, prediction = 0.0004, 0.0008, 0.002

    def features(self, x, sigma):
        time.sleep(self.forward * len(x))
        found = super().features(x, sigma)
        if found.requires_grad:
            found.register_hook(lambda gradient: time.sleep(self.backward * len(gradient)))
        return found

    def denoise(self, x, sigma):
        time.sleep(self.prediction * len(x))
        return super().denoise(x, sigma)


@pytest.mark.parametrize("settings", [
    AlignmentSettings(count=24, aligned_steps=4, keep=2, solver=Adam(iterations=12)),
    AlignmentSettings(count=300, aligned_steps=4, keep=4, carried=4,
                      solver=LBFGS(iterations=20, tolerance=1e-3, plateau=0.02)),
    AlignmentSettings(count=100, aligned_steps=5, keep=2, carried=6, solver=Adam(0.05, 60, 1e-3)),
], ids=["paper-like", "few carried", "tolerance"])
def test_the_time_left_is_right_after_the_first_aligned_step(settings):
    """Within 20 % of the whole run's time, although most latents need far fewer iterations later than at first."""
    events, started = [], time.monotonic()
    monitor = Monitor(lambda event: events.append((time.monotonic(), event)), settings, sigmas(20))
    align(Slow(), sigmas(20), SHAPE, settings, batch=BatchSize(8), watchers=[monitor])
    ended = time.monotonic()
    first, event = next((when, event) for when, event in events if event.seconds_left is not None)
    assert "aligned step 2" in event.message
    assert first + event.seconds_left - started == pytest.approx(ended - started, rel=0.2)
    later = [when + event.seconds_left - ended for when, event in events if event.seconds_left is not None]
    assert abs(later[-1]) < 0.1 * (ended - started)
    assert all(event.seconds_left is None for when, event in events if when < first)


def test_a_resumed_run_knows_the_time_left_at_once():
    memory, events = Memory(), []
    settings = dataclasses.replace(SETTINGS, aligned_steps=3, carried=0, solver=LBFGS(iterations=4))
    align(LinearGaussian(), sigmas(), SHAPE, settings, batch=BatchSize(20),
          watchers=[Checkpoint(memory, seconds=-1), Monitor(lambda event: None, settings, sigmas())])
    tensors, meta = next(save for save in memory.saves if save[1]["step"] == 1 and save[1]["matched"])
    align(LinearGaussian(), sigmas(), SHAPE, settings, batch=BatchSize(20),
          state=State.unpacked(*copied(tensors, meta)), watchers=[Monitor(events.append, settings, sigmas())])
    assert events[0].seconds_left is not None and 0 <= events[0].seconds_left <= meta["seconds_left"] + 1e-6
