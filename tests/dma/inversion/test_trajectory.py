"""What a trajectory says of its noise, and whose noise it refuses."""
import dataclasses

import pytest
import torch
from ode_toys import Network, pictures, schedule

from mental_averages.dma.diffusion import Parametrization
from mental_averages.dma.interpolation import interpolate
from mental_averages.dma.inversion import (
    Bdia,
    Ddim,
    FixedPoint,
    RFInversion,
    Trajectory,
    companions_of,
    invert,
    sample_back,
    way_back,
)

FLOW = Parametrization.FLOW


def test_way_back_refuses_latents_of_others():
    network, levels = Network(FLOW), schedule(FLOW, 3)
    exact, plain = (invert(network, pictures(), levels, method=method, measure=False).trajectory
                    for method in (Bdia(), Ddim()))
    with pytest.raises(ValueError, match="needs for 3 latents, but latent 2 of 2 is none of them"):
        way_back(network, torch.stack([exact.noise[0], exact.noise[1:].mean(0)]), exact)
    with pytest.raises(ValueError, match="of the same size"):
        way_back(network, torch.zeros(1, 4, 5, 5), plain)
    with pytest.raises(ValueError, match="of the same size"):
        companions_of(plain, torch.zeros(1, 4, 5, 5))
    assert way_back(network, plain.noise[:2], plain).shape == (2, 4, 3, 3)


@pytest.mark.parametrize("method", [Bdia(), RFInversion()])
def test_mixtures_do_not_get_what_belongs_to_a_picture(method):
    """As many mixtures as pictures, which were given each a picture's companion."""
    network, levels = Network(FLOW), schedule(FLOW, 3)
    found = invert(network, pictures(2), levels, method=method, measure=False).trajectory
    mixtures = interpolate(found.noise, torch.tensor([[0.5, 0.5], [0.2, 0.8]])).latents
    with pytest.raises(ValueError, match="latent 1 of 2 is none of them: it has been mixed"):
        way_back(network, mixtures, found)


def test_what_belongs_to_a_picture_follows_it_through_any_order():
    network, levels = Network(FLOW), schedule(FLOW, 3)
    found = invert(network, pictures(3), levels, method=Bdia(), measure=False).trajectory
    back = way_back(network, found.noise, found)
    torch.testing.assert_close(back, pictures(3), rtol=1e-4, atol=1e-4)
    for rows in ([2, 0, 1], [1], [0, 0, 2, 1]):
        torch.testing.assert_close(way_back(network, found.noise[rows], found), back[rows])
    halved = found.noise.half()
    torch.testing.assert_close(companions_of(found, halved), found.companion)
    assert companions_of(dataclasses.replace(found, companion=None), torch.zeros(7, 4, 3, 3)) is None


def test_noise_in_its_own_order_is_not_compared_with_that_of_every_picture(monkeypatch):
    from mental_averages.dma.inversion import _trajectory

    compared, distances = [], _trajectory.relative_distances

    def counting(x, reference):
        compared.append(len(reference))
        return distances(x, reference)

    found = invert(Network(FLOW), pictures(6), schedule(FLOW, 3), method=Bdia(), measure=False).trajectory
    monkeypatch.setattr(_trajectory, "relative_distances", counting)
    assert companions_of(found, found.noise) is found.companion and sum(compared) == 6
    assert torch.equal(companions_of(found, found.noise.flip(0)), found.companion.flip(0))


def test_what_the_noise_has_been_asked_for_is_not_asked_again():
    network, levels = Network(FLOW), schedule(FLOW, 3)
    found = invert(network, pictures(), levels, method=Bdia(), measure=False).trajectory
    moved = 1.01 * found.noise
    with pytest.raises(ValueError, match="none of them"):
        way_back(network, moved, found)
    assert torch.equal(way_back(network, moved, found, companion=companions_of(found, found.noise)),
                       way_back(network, found.noise, found))


def test_pictures_whose_noise_is_the_same_keep_their_own():
    """At gamma 1 every picture's noise is the same draw: each was given the first one's picture."""
    network, levels, clean = Network(FLOW), schedule(FLOW, 3), pictures(3)
    found = invert(network, clean, levels, method=RFInversion(gamma=1.0, controlled=1.0), measure=False).trajectory
    torch.testing.assert_close(way_back(network, found.noise, found), clean, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="Latent 1 is the noise of 3 pictures alike"):
        companions_of(found, found.noise[2:])


def test_the_noise_is_that_of_the_denoiser_and_leads_back():
    class StartsLower(Network):
        def start_scale(self, sigma):
            return 0.5 * sigma

    network, levels = StartsLower(FLOW), schedule(FLOW, 3)
    found = invert(network, pictures(3), levels, method=FixedPoint(1e-7, 60), measure=False).trajectory
    torch.testing.assert_close(found.noise, found.latents[-1] / (0.5 * found.levels[-1]))
    for back in (way_back(network, found.noise, found), sample_back(network, found.noise, levels)):
        torch.testing.assert_close(back, pictures(3), rtol=1e-4, atol=1e-4)


def test_the_noise_is_the_last_latent_in_units_of_ordinary_noise():
    latents = torch.stack([pictures(), 2 * pictures()])
    eps, flow = (Trajectory(latents, (0.0, 0.8), each, Ddim()) for each in (Parametrization.EPS, FLOW))
    torch.testing.assert_close(flow.noise, latents[-1] / 0.8)
    torch.testing.assert_close(eps.noise, latents[-1] / (1 + 0.8**2) ** 0.5)
