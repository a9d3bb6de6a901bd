from types import SimpleNamespace

import pytest
from trainings import CLEAN, Toy, small

from mental_averages.dma.execution import Event
from mental_averages.dma.training import TrainingMonitor


def test_progress_and_previews():
    events, asked = [], []

    def preview(done):
        asked.append(done)
        return CLEAN[:1] if done % 2 == 0 else None

    Toy().train(small(steps=4), tell=events.append, preview=preview)
    assert [event.fraction for event in events] == [0.25, 0.5, 0.75, 1.0] and asked == [1, 2, 3, 4]
    assert [event.preview is not None for event in events] == [False, True, False, True]
    assert events[-1].seconds_left == 0 and "step 4 of 4, loss " in events[-1].message


def test_the_time_left_of_a_resumed_training_is_that_of_the_steps_since(monkeypatch):
    """Steps before the resume took none of the time since."""
    told, times = [], iter([10.0, 13.0, 16.0])
    monkeypatch.setattr("time.monotonic", lambda: next(times))
    monitor = TrainingMonitor(told.append, small(steps=12))
    losses = [0.5] * 8
    monitor(Event("gradient"), SimpleNamespace(losses=losses))
    for _ in range(2):
        losses.append(0.5)
        monitor(Event("train"), SimpleNamespace(losses=losses))
    assert [progress.seconds_left for progress in told] == [pytest.approx(9.0), pytest.approx(6.0)]
    assert told[0].message == "step 9 of 12, loss 0.5" and told[0].fraction == 0.75
