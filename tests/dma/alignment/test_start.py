"""What an alignment starts from: noise, or a weighted ensemble of latents."""
import dataclasses

import pytest
import torch
from toys import LinearGaussian
from two_modes import LEVELS, SETTINGS, SHAPE, first_latents, sampled

from mental_averages.dma.alignment import AlignmentSettings, Ensemble, Noise, align
from mental_averages.dma.diffusion import Parametrization, initial_latent, starting_noise
from mental_averages.dma.execution import BatchSize
from mental_averages.dma.solvers import Adam


@pytest.mark.parametrize("count", [1, 5, 16, 40])
def test_the_first_latents_of_noise_are_its_first_rows(count):
    """The same rows that were averaged, drawn again."""
    found = Noise(40, SHAPE, 3).first(LinearGaussian(), 10.0, count)
    assert torch.equal(found, initial_latent(Parametrization.EPS, starting_noise(40, SHAPE, 3)[:count], 10.0))
    assert torch.equal(Noise(40, SHAPE, 3).rows(LinearGaussian(), 10.0)[0:count], found)


class StartsLower(LinearGaussian):
    """One that takes a tenth of the noise where sampling starts."""

    def start_scale(self, sigma):
        return 0.1 * sigma


@pytest.mark.parametrize("parametrization, scale", [(Parametrization.EPS, 101**0.5), (Parametrization.FLOW, 10.0)])
def test_noise_is_carried_as_the_model_takes_it(parametrization, scale):
    denoiser = LinearGaussian()
    denoiser.parametrization = parametrization
    rows = Noise(40, SHAPE, 3).rows(denoiser, 10.0)
    torch.testing.assert_close(rows[0:40], scale * starting_noise(40, SHAPE, 3))


def test_a_denoiser_may_say_how_noise_becomes_a_latent():
    """Plain sampling starts there, and what is measured of it is in the papers' units all the same."""
    noise = starting_noise(40, SHAPE, 3)
    rows = Noise(40, SHAPE, 3).rows(StartsLower(), 10.0)
    torch.testing.assert_close(rows[0:40], noise)
    plain = dataclasses.replace(SETTINGS, count=40, seed=3, aligned_steps=0, keep=40)
    found = align(StartsLower(), LEVELS, SHAPE, plain)
    start = 0.1 * LEVELS[0] * noise
    torch.testing.assert_close(found.latents, sampled(StartsLower(), start, LEVELS))
    spread = (noise - noise.mean(0)).square().sum() / noise.numel()
    expected = 0.1 * LEVELS[0] / (1 + LEVELS[0] ** 2) ** 0.5 * spread**0.5
    assert found.report.initial_spread == pytest.approx(expected.item(), rel=1e-5)
    aligned = align(StartsLower(), LEVELS, SHAPE, dataclasses.replace(plain, aligned_steps=1))
    assert aligned.report.initial_spread == pytest.approx(expected.item(), rel=1e-5)


def test_of_noise_no_more_go_on_than_were_drawn():
    start, settings = Noise(40, SHAPE, 3), AlignmentSettings(count=40, keep=2)
    assert [start.moving(settings, drawn) for drawn in (None, 16, 40)] == [40, 16, 40]
    assert start.moving(dataclasses.replace(settings, carried=5), 16) == 5 and start.weights_of(slice(0, 3)) is None


def test_noise_of_another_number_or_shape_is_refused():
    Noise(40, SHAPE, 3).check(40, SHAPE)
    for count, shape in ((39, SHAPE), (40, (2, 3, 4))):
        with pytest.raises(ValueError, match="Noise for 40 latents of shape"):
            Noise(40, SHAPE, 3).check(count, shape)


@pytest.mark.parametrize("parametrization", [Parametrization.EPS, Parametrization.FLOW])
def test_an_ensemble_gives_its_members_in_their_order(parametrization):
    latents = first_latents()
    denoiser, start = LinearGaussian(), Ensemble(latents, torch.arange(40.0), (30, 2, 11))
    denoiser.parametrization = parametrization
    assert torch.equal(start.rows(denoiser, 10.0), latents)
    assert torch.equal(start.first(denoiser, 10.0, 2), latents[[30, 2]])
    assert start.weights_of(slice(3, 6)).tolist() == [3, 4, 5]
    assert start.moving(dataclasses.replace(SETTINGS, carried=0)) == 3 and start.moving(SETTINGS, 1) == 2


def test_an_ensemble_of_noise_with_equal_weights_is_the_ordinary_average():
    plain = AlignmentSettings(count=40, aligned_steps=2, keep=3, seed=3, solver=Adam(learning_rate=0.05, iterations=30),
                              own_noise=0.5)
    reference = align(LinearGaussian(), LEVELS, SHAPE, plain)
    ensemble = Ensemble(first_latents(), torch.full((40,), 0.125), tuple(range(40)))
    found = align(LinearGaussian(), LEVELS, SHAPE, plain, start=ensemble)
    torch.testing.assert_close(found.latents, reference.latents, rtol=1e-4, atol=1e-4)
    assert found.report.steps[0].mean_error == pytest.approx(reference.report.steps[0].mean_error, rel=1e-5)
    assert found.report.initial_spread == pytest.approx(reference.report.initial_spread, rel=1e-5)


@pytest.mark.parametrize("parametrization", [Parametrization.EPS, Parametrization.FLOW])
def test_all_weight_on_one_latent_leaves_it_on_its_own_way(parametrization):
    denoiser = LinearGaussian()
    denoiser.parametrization = parametrization
    latents = first_latents()
    weights = torch.zeros(40)
    weights[17] = 2.5
    chosen = dataclasses.replace(SETTINGS, keep=1, carried=1)
    found = align(denoiser, LEVELS, SHAPE, chosen, batch=BatchSize(7),
                  start=Ensemble(latents, weights, (17, 4)))
    torch.testing.assert_close(found.latents, sampled(denoiser, latents[17:18], LEVELS), rtol=1e-4, atol=1e-4)
    assert found.report.steps[0].residual_before[0] < 1e-9 and found.report.steps[0].mean_error == 0


def test_members_are_carried_in_their_order():
    latents = first_latents()
    ensemble = Ensemble(latents, torch.ones(40), (30, 2, 11))
    plain = dataclasses.replace(SETTINGS, aligned_steps=0)
    found = align(LinearGaussian(), LEVELS, SHAPE, plain, start=ensemble)
    torch.testing.assert_close(found.latents, sampled(LinearGaussian(), latents[[30, 2]], LEVELS))
    matched = align(LinearGaussian(), LEVELS, SHAPE, dataclasses.replace(SETTINGS, carried=0, keep=40),
                    start=ensemble)
    assert len(matched.latents) == 3 == len(matched.report.steps[0].residual_after)


@pytest.mark.parametrize("change",
                         [dict(latents=torch.zeros(39, *SHAPE)), dict(weights=torch.ones(39)), dict(members=()),
                          dict(weights=-torch.ones(40)),
                          dict(weights=torch.ones(40).index_fill(0, torch.tensor([1, 2]), 0))])
def test_ensembles_that_make_no_sense(change):
    ensemble = dataclasses.replace(Ensemble(first_latents(), torch.ones(40), (1, 2)), **change)
    with pytest.raises(ValueError, match="nsemble"):
        align(LinearGaussian(), LEVELS, SHAPE, SETTINGS, start=ensemble)
