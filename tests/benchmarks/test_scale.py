"""The simulation of the benchmark `scale`, in cases that can be told in closed form."""
import importlib.util
from dataclasses import replace

import pytest

import workspace

PLACE = workspace.PACK / "benchmarks" / "distributed" / "_simulation.py"


@pytest.fixture(scope="module")
def simulation():
    import sys

    spec = importlib.util.spec_from_file_location("simulation_of_scale", PLACE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def free(simulation):
    """Work of a second a block, for which nothing else costs anything."""
    return simulation.Costs(seconds=1.0, sent=0, received=0, held=0, taken=0.0, told=0.0, scatter=0.0)


def test_work_alone_is_divided_as_far_as_blocks_go(simulation, free):
    assert simulation.pass_seconds(free, 60, 4) == 15 and simulation.efficiency(free, 60, 4) == 1
    assert simulation.pass_seconds(free, 65, 64) == 2
    assert simulation.what_breaks_first(free, 65, 64) == "too few blocks"


def test_the_driver_takes_results_one_after_the_other(simulation, free):
    slow = replace(free, seconds=0.001, taken=1.0)
    assert simulation.pass_seconds(slow, 640, 64) == pytest.approx(640.001)
    assert simulation.what_breaks_first(slow, 640, 64) == "the driver's sums"
    narrow = replace(free, seconds=0.001, received=100.0, bandwidth=100.0)
    assert simulation.pass_seconds(narrow, 640, 64) == pytest.approx(640.001)
    assert simulation.what_breaks_first(narrow, 640, 64) == "the driver's network"
    assert narrow.bytes_of(640, 64) == 64_000 and replace(narrow, held=3, sent=1).bytes_of(10, 2) == 1016


def test_what_is_before_the_work_and_beside_it(simulation, free):
    late = replace(free, told=100.0)
    assert simulation.pass_seconds(late, 640, 64) == 110
    assert simulation.what_breaks_first(late, 640, 64) == "the beginning of a pass"
    uneven = replace(free, scatter=0.3)
    assert simulation.pass_seconds(uneven, 640, 64) > 11
    assert simulation.what_breaks_first(uneven, 64, 64) == "workers of unequal speed"
