"""The plan of a run, and what is said about the time left."""
import dataclasses
import time

import pytest
from toys import LinearGaussian, sigmas

from mental_averages.dma.alignment import AlignedStep, AlignmentSettings, Monitor, align
from mental_averages.dma.alignment._pace import BACKWARD_COST, PREDICTION_COST, Plan, seconds_left
from mental_averages.dma.execution import BatchSize
from mental_averages.dma.solvers import LBFGS, Adam

SHAPE = (2, 3, 3)


class Counting(LinearGaussian):
    """Notes how many latents it has predicted."""

    predictions = 0

    def denoise(self, x, sigma):
        self.predictions += len(x)
        return super().denoise(x, sigma)


@pytest.mark.parametrize("change", [dict(), dict(carried=4), dict(target_updates=3), dict(aligned_steps=0),
                                    dict(keep=9)])
def test_a_run_that_takes_all_iterations_costs_what_was_planned(change):
    """But for the last aligned step, in which only those that are kept still move on."""
    settings = dataclasses.replace(AlignmentSettings(count=9, aligned_steps=2, keep=2, solver=Adam(iterations=5)),
                                   **change)
    plan, denoiser = Plan.of(settings, 8, 9, settings.moving), Counting()
    report = align(denoiser, sigmas(8), SHAPE, settings).report
    backwards = sum(sum(step.backwards) for step in report.steps)
    cost = denoiser.feature_rows + BACKWARD_COST * backwards + PREDICTION_COST * denoiser.predictions
    left_behind = plan.moving - plan.kept if settings.aligned_steps else 0
    assert cost == plan.total - PREDICTION_COST * left_behind


def test_no_more_is_planned_than_there_are_latents():
    plan = Plan.of(AlignmentSettings(count=20, keep=9, carried=7), 12, 5, 7)
    assert (plan.count, plan.moving, plan.kept, plan.first) == (5, 5, 5, 0)


def test_the_time_left_is_the_work_left_at_the_pace_so_far():
    """Two aligned steps of three are to come, each of two targets, and five steps of plain sampling."""
    # At the rate so far, every latent takes 20 iterations in a step.
    settings = AlignmentSettings(count=9, aligned_steps=3, keep=2, target_updates=2, solver=Adam(iterations=10))
    plan = Plan.of(settings, 8, 9, 9)
    records = [AlignedStep(sigma=3.0, mean_error=0.1, residual_before=[0.5] * 9, residual_after=[0.1] * 9,
                           iterations=[20] * 9, spread=0.1, norm=1.0)]
    pace = {"mean": [9.0, 18.0], "match": [36.0, 180.0], "predict": [18.0, 9.0]}
    left = seconds_left(pace, plan, records, 0.3)
    # Three means are to come after the present one, and predictions of all 9 after one step, of 2 after the others.
    assert left == pytest.approx(0.5 * 9 * 3 + 0.2 * 9 * 40 + 2.0 * (9 + 2 * 6), rel=1e-6)
    assert seconds_left({}, plan, records, 0.3) == 0, "nothing is known of a pace that has not been seen"


@pytest.fixture
def clock(monkeypatch):
    """Time that passes by sleeping alone: a busy machine, or a slow one, has no share in it."""
    now = [1000.0]

    def sleep(seconds):
        now[0] += seconds

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", sleep)


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
def test_the_time_left_is_right_after_the_first_aligned_step(settings, clock):
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
