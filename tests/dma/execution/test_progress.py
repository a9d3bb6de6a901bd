import dataclasses

import pytest
import torch

from mental_averages.dma.execution import Clock, Event, Iteration, PassMonitor, seconds_for


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


def test_iterations_within_a_batch_bring_a_pass_on_and_do_not_end_it():
    told = []
    monitor = PassMonitor(told.append, "fitting", 2)
    events = [*(Iteration(number, 3).event("fit", slice(0, 4), 4) for number in (1, 2, 3)), Event("fit", 4, 4, 4)]
    for event in (*events, *events):
        monitor(event, None)
    assert [progress.fraction for progress in told] == [number / 8 for number in range(1, 9)]
    assert [progress.message for progress in told[2:5]] == [
        "fitting, step 1 of 2, iteration 3", "fitting, step 1 of 2", "fitting, step 2 of 2, iteration 1"]


def test_an_iteration_tells_what_it_is_given():
    event = Iteration(2, 3).event("fit", slice(2, 4), 8, amount=3, value=0.5, changed=True)
    assert event == Event("fit", 3, 2, 8, 0.5, under_way=1.0, iteration=2, changed=True)


def test_a_loop_that_is_gone_on_with_is_told_of_from_where_it_stands():
    told = []
    PassMonitor(told.append, "sampling", 4, ended=3)(Event("predict", 5, 5, 5), None)
    assert [(progress.fraction, progress.message) for progress in told] == [(1.0, "sampling, step 4 of 4")]
