import dataclasses

import pytest
import torch

from mental_averages.dma.execution import Clock, Event, PassMonitor, seconds_for


@dataclasses.dataclass
class Timed:
    seconds: float = 0.0
    pace: dict = dataclasses.field(default_factory=dict)


def test_a_clock_puts_all_time_down_to_what_was_done_in_it(monkeypatch):
    times = iter([10.0, 12.0, 15.0, 15.5])
    monkeypatch.setattr("time.monotonic", lambda: next(times))
    clock, state = Clock(), Timed()
    for event in (Event("mean", 4), Event("match", 10), Event("mean", 4)):
        clock(event, state)
    assert state.seconds == 5.5 and state.pace == {"mean": [2.5, 8.0], "match": [3.0, 10.0]}


def test_a_clock_goes_on_from_what_a_resumed_run_has_cost_before(monkeypatch):
    times = iter([100.0, 101.0])
    monkeypatch.setattr("time.monotonic", lambda: next(times))
    clock, state = Clock(), Timed(5.0, {"mean": [4.0, 8.0]})
    clock(Event("mean", 2), state)
    assert state.seconds == 6.0 and state.pace == {"mean": [5.0, 10.0]}


def test_seconds_at_the_pace_so_far():
    assert seconds_for({"mean": [3.0, 12.0]}, "mean", 8) == pytest.approx(2.0)
    assert seconds_for({"mean": [3.0, 12.0]}, "match", 8) == 0
    assert seconds_for({"step": [0.5, 0.0]}, "step", 8) == 0, "work without an amount has no pace"


def test_passes_over_all_rows_are_told_of_as_one_progress():
    told = []
    monitor = PassMonitor(told.append, "sampling", 3)
    clean = torch.zeros(1, 2, 3, 3)
    for _ in range(3):
        for row in (2, 4, 5):
            monitor(Event("predict", 2, row, 5, clean=clean if row == 2 else None), None)
        monitor(Event("step", 0.0, closes=True), None)
    assert [progress.fraction for progress in told] == pytest.approx(
        [(number + row / 5) / 3 for number in range(3) for row in (2, 4, 5)])
    assert [progress.message for progress in told] == [f"sampling, step {step} of 3" for step in (1, 2, 3)
                                                       for _ in range(3)]
    assert [progress.preview is clean for progress in told] == [True, False, False] * 3


def test_a_loop_that_is_gone_on_with_is_told_of_from_where_it_stands():
    told = []
    PassMonitor(told.append, "sampling", 4, ended=3)(Event("predict", 5, 5, 5), None)
    assert [(progress.fraction, progress.message) for progress in told] == [(1.0, "sampling, step 4 of 4")]
