"""The progress of inversions, optimisations and ways back."""
import pytest
import torch
from ode_toys import Network, pictures, schedule

from mental_averages.dma.diffusion import Parametrization
from mental_averages.dma.execution import BatchSize, Event
from mental_averages.dma.inversion import FixedPoint, InversionMonitor, invert, sample_back

EPS = Parametrization.EPS


def told_of(kinds, steps, **options):
    told = []
    monitor = InversionMonitor(told.append, steps, **options)
    for kind in kinds:
        monitor(Event(kind, 1, 1, 1), None)
    return [(pytest.approx(progress.fraction), progress.message) for progress in told]


def test_progress_never_falls_and_ends_at_one():
    events = []
    invert(Network(EPS), pictures(), schedule(EPS, 4), batch=BatchSize(2),
           watchers=[InversionMonitor(events.append, 4)])
    fractions = [event.fraction for event in events]
    assert fractions == sorted(fractions) and fractions[-1] == pytest.approx(1.0)
    assert events[0].preview.shape == (1, 4, 3, 3)
    assert fractions[0] == pytest.approx(0.6 * 2 / 3 / 4) and fractions[7] == pytest.approx(0.6)
    assert events[0].message == "inverting, step 1 of 4" and events[-1].message == "sampling, step 4 of 4"


def test_iterations_bring_it_on_within_a_batch():
    told = []
    invert(Network(EPS), pictures(), schedule(EPS, 2), batch=BatchSize(3), method=FixedPoint(0.0, 3), measure=False,
           watchers=[InversionMonitor(told.append, 2, measure=False)])
    assert [(progress.fraction, progress.message) for progress in told[:4]] == [
        (0.125, "inverting, step 1 of 2, iteration 1"), (0.25, "inverting, step 1 of 2, iteration 2"),
        (0.375, "inverting, step 1 of 2, iteration 3"), (0.5, "inverting, step 1 of 2")]


def test_an_inversion_that_is_not_measured_is_the_whole():
    assert told_of(["ascend"] * 2, 2, measure=False) == [(0.5, "inverting, step 1 of 2"),
                                                         (1.0, "inverting, step 2 of 2")]


def test_a_way_back_is_the_whole():
    told = []
    sample_back(Network(EPS), pictures(), schedule(EPS, 2), watchers=[InversionMonitor(told.append, 2)])
    assert [(progress.fraction, progress.message) for progress in told] == [(0.5, "sampling, step 1 of 2"),
                                                                            (1.0, "sampling, step 2 of 2")]
    assert torch.is_tensor(told[0].preview)


def test_an_optimisation_and_its_round_trip_as_a_part_of_a_run():
    assert told_of(["fit", "fit", "descend", "descend"], 2, part=(0.5, 1.0)) == [
        (0.725, "null-text optimisation, step 1 of 2"), (0.95, "null-text optimisation, step 2 of 2"),
        (0.975, "sampling, step 1 of 2"), (1.0, "sampling, step 2 of 2")]
