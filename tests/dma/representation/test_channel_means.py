"""Channel means against closed forms, whatever the batch, interrupted or whole."""
import copy
import math

import pytest
import torch
from toys import LinearGaussian

from mental_averages.dma.diffusion import NotFiniteError, Parametrization, starting_noise
from mental_averages.dma.execution import BatchSize
from mental_averages.dma.models import pooled
from mental_averages.dma.representation import (
    MeansState,
    Reading,
    channel_means,
    means_of_layers,
    reading_noise,
)

SHAPE, LEVELS = (2, 6, 4), [3.0, 0.5, 0.0]


class Maps:
    """Features are maps that are squared, so that noise does not cancel: twice as many channels at half the size."""

    device = torch.device("cpu")

    def __init__(self, parametrization=Parametrization.EPS):
        self.parametrization, self.calls, self.largest = parametrization, 0, 0

    def denoise(self, x, sigma):
        return 0.5 * x

    def features(self, x, sigma):
        return self.all_features(x, sigma, ["fine"], lambda layer, features: features)["fine"]

    def all_features(self, x, sigma, layers, reduced):
        self.calls, self.largest = self.calls + 1, max(self.largest, len(x))
        maps = {"fine": torch.cat([x, x.square()], 1), "coarse": torch.nn.functional.avg_pool2d(x.square(), 2)}
        return {layer: reduced(layer, maps[layer]) for layer in layers}


def clean(count=5):
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(4))


def expected(latents, draws, seed, pooling="mean", flow=False):
    """phi written out latent by latent."""
    noise = reading_noise(draws, SHAPE, seed)
    rows = []
    for latent in latents.double():
        row = []
        for sigma in LEVELS if not flow else [0.9, 0.5, 0.0]:
            noisy = (1 - sigma if flow else 1) * latent + sigma * noise.double()
            row.append(pooled(torch.cat([noisy, noisy.square()], 1), pooling).mean(0))
        rows.append(torch.stack(row))
    return torch.stack(rows).float()


@pytest.mark.parametrize("pooling", ["mean", "2x2", "none"])
def test_means_are_those_written_out(pooling):
    found = channel_means(Maps(), clean(), LEVELS, Reading(3, 7, pooling), layer="fine", batch=BatchSize(4))
    assert found.means.shape[:3] == (5, 3, 4) and found.means.dtype == torch.float32
    torch.testing.assert_close(found.means, expected(clean(), 3, 7, pooling), rtol=1e-5, atol=1e-6)
    assert (found.layer, found.sigmas, found.draws, found.seed, found.pooling, found.shape, len(found)) == (
        "fine", (3.0, 0.5, 0.0), 3, 7, pooling, SHAPE, 5)


def test_samples_of_the_same_seed_are_not_noised_by_what_they_were_made_of():
    """Noise of a sample's own start would be told from any other by the network, which has just taken it away."""
    shape = (4, 16, 16)
    read, start = reading_noise(3, shape, 7), starting_noise(3, shape, 7)
    alike = torch.corrcoef(torch.cat([read, start]).flatten(1))
    assert (alike - torch.eye(6)).abs().max() < 5 / 32  # five standard errors of 1024 numbers
    found = channel_means(Maps(), -2.0 * start, [2.0], Reading(3, 7)).means[:, 0, 8:]  # the squares
    assert (found > 4.0).all()


def test_flow_mixes_noise_in():
    found = channel_means(Maps(Parametrization.FLOW), clean(), [0.9, 0.5, 0.0], Reading(3, 7))
    torch.testing.assert_close(found.means, expected(clean(), 3, 7, flow=True), rtol=1e-5, atol=1e-6)


def test_the_mean_of_many_draws_is_the_expectation():
    """E mean over space of (x + sigma eps)^2 = mean of x^2 + sigma^2, with a standard error that is known."""
    draws, sigma = 4000, 2.0
    latents = clean(2)
    found = channel_means(Maps(), latents, [sigma], Reading(draws, 1)).means[:, 0, 2:]  # of the squares
    squares = latents.square().mean((2, 3))
    variance = (2 * sigma**4 + 4 * sigma**2 * squares) / (24 * draws)  # of 24 pixels
    assert ((found - squares - sigma**2).abs() < 4 * variance.sqrt()).all()


@pytest.mark.parametrize("size", [1, 3, 7, 64])
def test_results_do_not_depend_on_the_batch(size):
    whole = channel_means(Maps(), clean(), LEVELS, Reading(4))
    denoiser = Maps()
    assert torch.equal(channel_means(denoiser, clean(), LEVELS, Reading(4), batch=BatchSize(size)).means, whole.means)
    assert denoiser.largest <= size


def test_a_latent_is_represented_by_itself():
    """Neither the others nor their order matter."""
    whole = channel_means(Maps(), clean(), LEVELS, Reading(4)).means
    assert torch.equal(channel_means(Maps(), clean()[[3, 1]], LEVELS, Reading(4)).means, whole[[3, 1]])


def test_several_layers_are_read_at_once():
    denoiser = Maps()
    found = means_of_layers(denoiser, clean(), LEVELS, ["coarse", "fine"], Reading(2, 7), batch=BatchSize(50))
    assert denoiser.calls == 3 and list(found) == ["coarse", "fine"]
    alone = channel_means(Maps(), clean(), LEVELS, Reading(2, 7), layer="fine")
    assert torch.equal(found["fine"].means, alone.means) and found["fine"].layer == "fine"
    assert found["coarse"].means.shape == (5, 3, 2) and found["coarse"].is_of(alone.fingerprint)
    # The mean of squares over space is the same at half the size.
    torch.testing.assert_close(found["coarse"].means, alone.means[:, :, 2:])


def test_features_that_are_pooled_already_are_taken_as_they_are():
    toy = LinearGaussian((2, 3, 3), features=7)
    latents = torch.randn(3, 2, 3, 3)
    found = channel_means(toy, latents, [1.5], Reading(5, 2))
    noise = reading_noise(5, (2, 3, 3), 2)
    # Linear features: those of the mean noise.
    expected = toy.features(latents + 1.5 * noise.mean(0), 1.5)
    torch.testing.assert_close(found.means[:, 0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stop_after", range(1, 9))
def test_a_reading_goes_on_where_it_was_interrupted(stop_after):
    whole, saved = channel_means(Maps(), clean(), LEVELS, Reading(3), batch=BatchSize(4)), []
    heard = []

    def interrupt(event, state):
        heard.append(event.kind)
        saved.append(copy.deepcopy(state.packed()))
        if len(saved) == stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        channel_means(Maps(), clean(), LEVELS, Reading(3), batch=BatchSize(4), watchers=[interrupt])
    denoiser = Maps()
    found = channel_means(denoiser, clean(), LEVELS, Reading(3), batch=BatchSize(4),
                          state=MeansState.unpacked(*saved[-1]))
    assert torch.equal(found.means, whole.means)
    # 15 noisy latents at each of two levels and 5 at the last, in batches of 4, of which each is read once.
    read = sum(event == "read" for event in heard)
    assert denoiser.calls == 4 + 4 + 2 - read


def test_events_add_up():
    events = []
    channel_means(Maps(), clean(), LEVELS, Reading(3), batch=BatchSize(4),
                  watchers=[lambda event, state: events.append(event)])
    assert sum(event.amount for event in events) == Reading(3).rows(5, LEVELS) == 35
    assert [event.kind for event in events].count("level") == 3 and events[-1].closes


def test_an_error_leaves_a_state_that_can_be_gone_on_from():
    class Breaking(Maps):
        broken = True

        def all_features(self, x, sigma, layers, reduced):
            found = super().all_features(x, sigma, layers, reduced)
            if self.broken and self.calls == 3:
                found["coarse"][0] = math.nan
            return found

    whole = means_of_layers(Maps(), clean(), LEVELS, ["fine", "coarse"], Reading(3), batch=BatchSize(4))
    denoiser, state = Breaking(), MeansState()
    with pytest.raises(NotFiniteError, match=r"layer coarse at noise level 3 .*\(1 of 4 latents\)"):
        means_of_layers(denoiser, clean(), LEVELS, ["fine", "coarse"], Reading(3), batch=BatchSize(4), state=state)
    denoiser.broken = False
    found = means_of_layers(denoiser, clean(), LEVELS, ["fine", "coarse"], Reading(3), batch=BatchSize(4), state=state)
    assert all(torch.equal(found[layer].means, whole[layer].means) for layer in whole)


@pytest.mark.parametrize("changes, message", [
    (dict(latents=torch.zeros(0, *SHAPE)), "batch is empty"),
    (dict(latents=torch.full((1, *SHAPE), math.nan)), "NaN"),
    (dict(latents=torch.zeros(2, 3, 4)), "four dimensions"),
    (dict(sigmas=[]), "one or more noise levels"),
    (dict(sigmas=[0.5, 0.5]), "that fall"),
    (dict(sigmas=[0.5, 1.0]), "that fall"),
    (dict(sigmas=[math.nan]), "that fall"),
    (dict(sigmas=[-1.0]), "none of them negative"),
    (dict(reading=Reading(0)), "draws is 0"),
    (dict(reading=Reading(pooling="3x3")), "no pooling '3x3'"),
])
def test_bad_input_is_refused_before_work_starts(changes, message):
    denoiser = Maps()
    given = {"latents": clean(), "sigmas": LEVELS, "reading": Reading(), **changes}
    with pytest.raises(ValueError, match=message):
        channel_means(denoiser, given["latents"], given["sigmas"], given["reading"])
    assert denoiser.calls == 0


@pytest.mark.parametrize("layers", [[], ["fine", "fine"]])
def test_layers_are_named_once(layers):
    with pytest.raises(ValueError, match="named once"):
        means_of_layers(Maps(), clean(), LEVELS, layers)


def test_what_is_read_in_inference_mode_can_take_part_in_gradients():
    with torch.inference_mode():
        found = channel_means(Maps(), clean(), LEVELS)
    assert not found.means.is_inference() and not found.fingerprint.is_inference()
    weight = torch.ones(4, requires_grad=True)
    (found.means * weight).sum().backward()
    assert weight.grad is not None
