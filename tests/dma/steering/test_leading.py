import math

import pytest
import torch

from mental_averages.dma.diffusion import NotFiniteError, Parametrization
from mental_averages.dma.execution import BatchSize, drive
from mental_averages.dma.steering import (
    direction_from,
    lead,
    mean_predictions,
    way_between,
    weighted_by_leads,
)


class Shrinking:
    """A denoiser that takes x / (1 + sigma) + shift for clean."""

    parametrization, device = Parametrization.EPS, torch.device("cpu")

    def __init__(self, shift=0.0):
        self.shift, self.asked = shift, []

    def denoise(self, x, sigma):
        self.asked.append(len(x))
        return x / (1 + sigma) + self.shift


def latents(count, seed=0):
    return torch.randn(count, 2, 3, 3, generator=torch.Generator().manual_seed(seed))


def predictions(denoiser, clean, noise, sigmas, size=3):
    events = []
    return drive(mean_predictions(denoiser, clean, noise, sigmas, BatchSize(size)), None,
                 [lambda event, state: events.append((event.row, event.rows))]), events


def test_mean_predictions_are_those_of_noisy_latents():
    clean, noise, denoiser = latents(5), latents(5, 1), Shrinking()
    found, events = predictions(denoiser, clean, noise, [2.0, 0.5])
    for level, sigma in enumerate((2.0, 0.5)):
        torch.testing.assert_close(found[level].float(), ((clean + sigma * noise) / (1 + sigma)).mean(0))
    assert denoiser.asked == [3, 2, 3, 2] and events == [(3, 5), (5, 5), (3, 5), (5, 5)]


def test_a_shift_along_the_way_is_the_share_of_it():
    clean, noise = latents(4), latents(4, 1)
    way = way_between(latents(6, 2), latents(3, 3))
    across = latents(1, 4)[0].double()
    across -= (across * way).sum() / way.square().sum() * way
    plain, _ = predictions(Shrinking(), clean, noise, [2.0, 0.5])
    for share in (-0.3, 0.0, 0.25):
        moved, _ = predictions(Shrinking((share * way + across).float()), clean, noise, [2.0, 0.5])
        assert lead(moved - plain, way) == pytest.approx(share, abs=1e-6)


def test_levels_are_averaged():
    way = latents(1)[0]
    assert lead(torch.stack([0.2 * way, -0.1 * way]), way) == pytest.approx(0.05)


def test_the_way_is_that_between_means_and_is_there():
    way = latents(6).mean(0) - latents(3, 1).mean(0)
    torch.testing.assert_close(way_between(latents(6), latents(3, 1)).float(), way)
    with pytest.raises(ValueError, match="the weighting 'equal'"):
        way_between(latents(3), latents(3).flip(0))


def direction():
    return direction_from({name: (torch.randn(5, 4, generator=torch.Generator().manual_seed(seed)) + 2,
                                  torch.randn(5, 4, generator=torch.Generator().manual_seed(seed + 10)))
                           for seed, name in enumerate("abc")})


def test_layers_are_weighted_by_where_they_lead():
    plain = direction()
    found = weighted_by_leads(plain, {"a": 0.1, "b": -0.4, "c": 0.0})
    for layer, weight in {"a": 0.25, "b": -1.0, "c": 0.0}.items():
        torch.testing.assert_close(found.layers[layer].vector, weight * plain.layers[layer].vector)
        assert found.layers[layer].weight == weight and plain.layers[layer].weight == 1.0
    assert found.layers["b"].lead == -0.4 and math.isnan(plain.layers["b"].lead)
    assert found.separation == plain.separation and list(found.layers) == ["a", "b", "c"]


def test_of_all_weights_with_this_length_these_lead_furthest():
    """Each layer moves predictions along the way by its lead, to first order."""
    leads = {"a": 0.3, "b": -0.2, "c": 0.05}
    weights = torch.tensor([each.weight for each in weighted_by_leads(direction(), leads).layers.values()])
    of_leads = torch.tensor(list(leads.values()))
    others = torch.randn(1000, 3, generator=torch.Generator().manual_seed(0))
    others *= weights.norm() / others.norm(dim=1, keepdim=True)
    assert (weights @ of_leads) > (others @ of_leads).max()


@pytest.mark.parametrize("leads, complaint", [
    ({"a": 0.0, "b": 0.0, "c": 0.0}, "None of these layers leads anywhere"),
    ({"a": 0.1, "b": math.nan, "c": 0.0}, "NaN or infinity")])
def test_leads_that_say_nothing_are_refused(leads, complaint):
    with pytest.raises(ValueError, match=complaint):
        weighted_by_leads(direction(), leads)


def test_predictions_that_are_not_finite_are_refused():
    with pytest.raises(NotFiniteError, match="Predictions of the model at noise level 0.5"):
        predictions(Shrinking(math.nan), latents(2), latents(2, 1), [0.5])
