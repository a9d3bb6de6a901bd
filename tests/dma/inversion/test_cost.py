"""What the clock writes of an inversion."""
import pytest

from mental_averages.dma.execution import Clock, Event
from mental_averages.dma.inversion._cost import Cost


def test_the_clock_adds_to_the_seconds_that_there_were():
    cost, clock = Cost(3.0), Clock()
    clock.last -= 2
    clock(Event("fit", 4), cost)
    assert cost.seconds == pytest.approx(5.0, abs=0.1) and cost.pace["fit"] == [pytest.approx(2.0, abs=0.1), 4]
    assert Cost().pace == {} and Cost().seconds == 0
