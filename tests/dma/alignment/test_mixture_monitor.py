import dataclasses

import pytest
from two_modes import LEVEL, LEVELS, MIXTURE, SETTINGS, SHAPE, TwoModes

from mental_averages.dma.alignment import MixtureMonitor, State, align_mixture
from mental_averages.dma.alignment._mixture_state import MixtureState
from mental_averages.dma.diffusion import starting_noise
from mental_averages.dma.execution import BatchSize, Event, Progress


def told_by(samples=None, mixture=MIXTURE):
    told = []
    monitor = MixtureMonitor(told.append, SETTINGS, LEVELS, mixture, LEVEL, sampled=samples is not None)
    found = align_mixture(TwoModes(), LEVELS, SHAPE, SETTINGS, mixture, LEVEL, samples=samples, batch=BatchSize(20),
                          watchers=[monitor])
    return told, monitor, found


def test_samples_and_modes_share_one_progress():
    told, monitor, _ = told_by()
    fractions = [progress.fraction for progress in told]
    assert fractions == sorted(fractions) and fractions[-1] == pytest.approx(1)
    sampling = [progress for progress in told if progress.message.startswith("sampling ")]
    assert [progress.message for progress in sampling] == [
        f"sampling 40 latents, step {step} of 10" for step in range(1, 11) for _ in range(2)]
    # A prediction costs six readings.
    assert [sampling[0].fraction, sampling[-1].fraction] == pytest.approx([monitor.share * 3 / 61, monitor.share])
    reading = [progress for progress in told if progress.message.startswith("reading ")]
    assert [(progress.message, progress.fraction) for progress in reading] == [
        (f"reading features, {row} of 40", pytest.approx(monitor.share * (6 * LEVEL + row / 40) / 61))
        for row in (20, 40)]
    fits = [progress for progress in told if progress.message.startswith("fitting ")]
    assert [fit.message for fit in fits] == [
        *[f"fitting mixtures, 0 of 1, start {start} of the next" for start in range(1, 11)], "fitting mixtures, 1 of 1"]
    assert all(fit.fraction == sampling[-1].fraction for fit in fits)
    modes = [progress for progress in told if progress.message.startswith("mode ")]
    assert modes[0].message.startswith("mode 1 of 2, aligned step 1 of 2: averaging features")
    assert modes[-1].message == "mode 2 of 2, sampling the finished latents"
    first = [progress.fraction for progress in modes if progress.message.startswith("mode 1 of 2, ")]
    assert first[-1] == pytest.approx((monitor.share + 1 - monitor.measured) / 2)
    compared = told[len(sampling) + len(reading) + len(fits) + len(modes):]
    assert [progress.message for progress in compared] == [
        f"comparing averages with samples, {row} of 44" for row in (20, 40, 44)]
    assert [progress.fraction for progress in compared] == pytest.approx([
        1 - monitor.measured * left / 44 for left in (24, 4, 0)])
    assert compared[0].seconds_left > 0 == compared[-1].seconds_left


def test_samples_from_elsewhere_are_no_part_of_the_work():
    told, monitor, _ = told_by(starting_noise(40, SHAPE, 0))
    assert [(progress.message, progress.fraction) for progress in told[:2]] == [
        ("reading features, 20 of 40", pytest.approx(monitor.share / 2)),
        ("reading features, 40 of 40", pytest.approx(monitor.share))]
    fits = 2 + sum(progress.message.startswith("fitting ") for progress in told)
    assert told[fits - 1].message == "fitting mixtures, 1 of 1" and told[fits - 1].fraction == monitor.share
    assert told[fits].message.startswith("mode 1 of 2") and told[fits].fraction >= monitor.share
    assert monitor.share < MixtureMonitor(told.append, SETTINGS, LEVELS, MIXTURE, LEVEL).share
    assert told[-1].fraction == pytest.approx(1)


def test_the_modes_that_were_found_count_not_those_that_might_have_been():
    told, _, found = told_by(mixture=dataclasses.replace(MIXTURE, smallest_count=1, largest_count=3))
    count = len(found.latents)
    assert [progress for progress in told if progress.message.startswith("mode ")][-1].message.startswith(
        f"mode {count} of {count}")
    assert told[-1].fraction == pytest.approx(1)


def test_the_time_left_takes_later_modes_to_be_like_those_so_far():
    told = []
    monitor = MixtureMonitor(told.append, SETTINGS, LEVELS, MIXTURE, LEVEL)
    state = MixtureState()
    state.exploration.pace["read"] = [2.0, 40.0]
    monitor(Event("clusters", rows=4), state)
    state.finished = [State(40, seconds=6.0)]
    state.current = State(40, seconds=1.0)
    found = monitor.within(Progress(0.5, "matching", seconds_left=3.0), state)
    # Two modes need 6 + (1 + 3) seconds, the two that follow as much again, and reading 40 samples once more 2.
    assert found.seconds_left == pytest.approx(3.0 + 10.0 + 2.0) and found.message == "mode 2 of 4, matching"
    assert found.fraction == pytest.approx(monitor.share + (1 - monitor.share - monitor.measured) * 1.5 / 4)
    assert monitor.within(Progress(0.5, "matching"), state).seconds_left is None
