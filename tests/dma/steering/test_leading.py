import math

import pytest
import torch
from peak_memory import largest_made_by

from mental_averages.dma.diffusion import NotFiniteError, Parametrization
from mental_averages.dma.execution import BatchSize, drive
from mental_averages.dma.steering import (
    Direction,
    LayerDirection,
    direction_from,
    lead,
    mean_predictions,
    way_between,
    weighted_to_lead,
)
from mental_averages.dma.steering._leading import RIDGE


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
    centred = latents(8) - latents(8).mean(0), latents(5, 1) - latents(5, 1).mean(0)  # but for rounding
    for same in ((latents(3), latents(3).flip(0)), centred):
        with pytest.raises(ValueError, match="the weighting 'equal'"):
            way_between(*same)


def test_movements_across_the_way_are_refused():
    with pytest.raises(ValueError, match="None of these layers leads along the way"):
        weighted_to_lead(direction(), *movements(0.0, 0.0, 0.0, aside=1.0))


def test_a_direction_made_in_inference_mode_takes_part_in_gradients():
    with torch.inference_mode():
        found = weighted_to_lead(direction(), *movements(0.1, 0.2, 0.3))
    scale = torch.ones(4, requires_grad=True)
    (scale * found.layers["a"].vector).sum().backward()
    torch.testing.assert_close(scale.grad, found.layers["a"].vector)


def direction():
    return direction_from({name: (torch.randn(5, 4, generator=torch.Generator().manual_seed(seed)) + 2,
                                  torch.randn(5, 4, generator=torch.Generator().manual_seed(seed + 10)))
                           for seed, name in enumerate("abc")})


def movements(*shares, seed=7, aside=0.0):
    """What layers move: a share of the way each, and something else that is across it."""
    way = latents(1, seed)[0].double()
    found = {}
    for number, (name, share) in enumerate(zip("abc", shares)):
        across = latents(2, 20 + number).double()
        across -= (across * way).sum((1, 2, 3), keepdim=True) / way.square().sum() * way
        found[name] = share * way + aside * across
    return found, way


def test_a_single_layer_has_the_weight_of_the_closed_form():
    """Of a layer that moves a share l of the way and nothing else: l / (l^2 + rho)."""
    plain = direction_from({"a": (torch.eye(4)[:2] + 2, -torch.eye(4)[2:])})
    for share in (0.1, -0.4, 1.0):
        moved, way = movements(share)
        found = weighted_to_lead(plain, moved, way)
        weight = share / (share**2 + RIDGE)
        assert found.layers["a"].weight == pytest.approx(weight) and found.layers["a"].lead == pytest.approx(share)
        torch.testing.assert_close(found.layers["a"].vector, weight * plain.layers["a"].vector)
    assert math.isnan(plain.lead) and math.isnan(plain.layers["a"].lead) and plain.layers["a"].weight == 1.0


def test_weights_are_those_of_scikit_learn():
    from sklearn.linear_model import Ridge

    plain, (moved, way) = direction(), movements(0.1, -0.3, 0.02, aside=0.1)
    found = weighted_to_lead(plain, moved, way)
    columns = torch.stack([each.flatten() for each in moved.values()], 1)
    target = way.expand(2, *way.shape).flatten()
    ridge = Ridge(alpha=RIDGE * target.square().sum().item(), fit_intercept=False).fit(columns, target)
    assert [each.weight for each in found.layers.values()] == pytest.approx(ridge.coef_.tolist())
    assert found.separation == plain.separation and list(found.layers) == ["a", "b", "c"]


def test_movements_of_many_layers_are_not_in_double_precision_together():
    """Of 57 layers of a transformer at 1024 pixels they would be 0.4 GB, once more beside what is kept of them."""
    names = [f"layer {number}" for number in range(20)]
    way = torch.randn(4, 64, 64, generator=torch.Generator().manual_seed(3))
    moved = {name: torch.randn(3, 4, 64, 64, generator=torch.Generator().manual_seed(number))
             for number, name in enumerate(names)}
    layer = LayerDirection(torch.ones(2), 1.0, 1.0, 1.0, 1.0)
    plain = Direction(dict.fromkeys(names, layer), "difference", 2, 2)
    assert largest_made_by(lambda: weighted_to_lead(plain, moved, way)) < 20 * 3 * 4 * 64 * 64 * 8 / 2
    columns = torch.stack([each.double().flatten() for each in moved.values()], 1)
    target = way.double().expand(3, *way.shape).flatten()
    size = target.square().sum()
    expected = torch.linalg.solve(columns.T @ columns / size + RIDGE * torch.eye(20), columns.T @ target / size)
    found = weighted_to_lead(plain, moved, way).layers.values()
    assert [each.weight for each in found] == pytest.approx(expected.tolist(), rel=1e-9)


def test_the_way_is_found_without_a_copy_of_all_pictures():
    pictures = [torch.randn(30, 4, 64, 64, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    assert largest_made_by(lambda: way_between(*pictures)) < 30 * 4 * 64 * 64 * 8 / 2


def test_a_layer_that_moves_much_besides_the_way_gets_less():
    moved, way = movements(0.2, 0.2, 0.0)
    moved["b"] = movements(0.2, 0.2, 0.0, aside=1.0)[0]["b"]
    weights = {layer: each.weight for layer, each in weighted_to_lead(direction(), moved, way).layers.items()}
    assert weights["a"] > 5 * weights["b"] > 0 and abs(weights["c"]) < 1e-9


@pytest.mark.parametrize("share, complaint", [(0.0, "None of these layers leads anywhere"),
                                              (math.nan, "NaN or infinity")])
def test_movements_that_say_nothing_are_refused(share, complaint):
    with pytest.raises(ValueError, match=complaint):
        weighted_to_lead(direction(), *movements(share, 0.0, 0.0))


def test_predictions_that_are_not_finite_are_refused():
    with pytest.raises(NotFiniteError, match="Predictions of the model at noise level 0.5"):
        predictions(Shrinking(math.nan), latents(2), latents(2, 1), [0.5])
