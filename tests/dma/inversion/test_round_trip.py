"""The round trip is the way back, compared with where it should end."""
from ode_toys import Network, pictures, schedule

from mental_averages.dma.execution import BatchSize, drive
from mental_averages.dma.inversion import Bdia, Ddim, invert, round_trip_error, way_back
from mental_averages.dma.inversion._round_trip import round_trip


def test_it_compares_the_way_back_with_the_clean_latents(parametrization):
    network, clean, heard = Network(parametrization), pictures(), []
    for method in (Ddim(), Bdia()):
        trajectory = invert(network, clean, schedule(parametrization, 4), method=method, measure=False).trajectory
        found = drive(round_trip(network, trajectory, BatchSize(2)), None, [lambda event, state: heard.append(event)])
        restored = way_back(network, trajectory.noise, trajectory, batch=BatchSize(2))
        assert found == round_trip_error(clean, restored)
    assert {event.kind for event in heard} == {"descend"} and len(heard) == 2 * 4 * 2
