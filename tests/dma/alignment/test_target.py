"""The mean that latents are matched to: how many are averaged, how sure it is, and what is kept in memory for it."""
import dataclasses
import gc

import pytest
import torch
from hypothesis import given, settings as hypothesis_settings, strategies as st
from toys import Biased, LinearGaussian, sigmas

from mental_averages.dma.alignment import AlignmentSettings, Ensemble, Noise, State, align, first_features
from mental_averages.dma.alignment._target import take_mean
from mental_averages.dma.diffusion import starting_noise
from mental_averages.dma.execution import BatchSize, split_at_multiples
from mental_averages.dma.solvers import LBFGS, Adam

SHAPE = (2, 3, 3)
SETTINGS = AlignmentSettings(count=60, aligned_steps=2, keep=2, carried=3, seed=3,
                             solver=LBFGS(iterations=30, tolerance=1e-8))


def test_standard_error_of_the_mean_is_exact_for_the_drawn_latents():
    denoiser, levels = LinearGaussian(), sigmas()
    settings = AlignmentSettings(count=9, aligned_steps=1, keep=9, seed=3, solver=Adam(iterations=0))
    result = align(denoiser, levels, SHAPE, settings)
    features = denoiser.features(starting_noise(9, SHAPE, 3) * (1 + levels[0].item() ** 2) ** 0.5,
                                 levels[0].item())
    expected = (features.double().var(0).sum() / 9).sqrt() / features.double().mean(0).norm()
    assert result.report.steps[0].mean_error == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("batch_size", [1, 7, 60])
def test_the_error_of_the_mean_decides_how_many_are_averaged(batch_size):
    """The same count for every batch size: the smallest multiple of 16 whose error is small enough."""
    settings, denoiser = dataclasses.replace(SETTINGS, count=400, mean_error=0.11), Biased()
    result = align(denoiser, sigmas(), SHAPE, settings, batch=BatchSize(batch_size))
    x = starting_noise(400, SHAPE, 3) * (1 + sigmas()[0].item() ** 2) ** 0.5
    features = Biased().features(x, sigmas()[0].item()).double()
    errors = {count: ((features[:count].var(0).sum() / count).sqrt() / features[:count].mean(0).norm()).item()
              for count in range(16, 400, 16)}
    expected = min(count for count, error in errors.items() if error <= 0.11)
    step = result.report.steps[0]
    assert (32 < expected < 300 and step.mean_count == expected
            and step.mean_error == pytest.approx(errors[expected], rel=1e-5))
    assert result.report.steps[1].mean_count == 3
    assert denoiser.feature_rows < expected + batch_size + 200


def test_all_latents_are_averaged_where_the_error_stays_too_large():
    result = align(LinearGaussian(), sigmas(), SHAPE, dataclasses.replace(SETTINGS, mean_error=1e-4))
    assert result.report.steps[0].mean_count == 60


def test_no_fewer_are_averaged_than_go_on():
    result = align(LinearGaussian(), sigmas(), SHAPE, dataclasses.replace(SETTINGS, carried=40, mean_error=10.0))
    assert result.report.steps[0].mean_count == 48 and len(result.report.steps[0].residual_after) == 40


def test_all_that_were_averaged_go_on_if_none_are_left_behind():
    settings = dataclasses.replace(SETTINGS, carried=0, mean_error=10.0, keep=20)
    result = align(LinearGaussian(), sigmas(), SHAPE, settings)
    few = align(LinearGaussian(), sigmas(), SHAPE, dataclasses.replace(settings, count=32, mean_error=0.0))
    assert len(result.report.steps[0].residual_after) == 32
    torch.testing.assert_close(result.latents, few.latents)


@pytest.mark.parametrize("own_noise", [0.0, 0.4])
def test_linear_features_are_met_by_the_mean_of_the_noise_itself(own_noise):
    """With a linear H the mean of the latents has the mean of the features: nothing is left to match."""
    solver = LBFGS(iterations=60, tolerance=1e-9)
    settings = dataclasses.replace(SETTINGS, own_noise=own_noise, solver=solver)
    result = align(LinearGaussian(), sigmas(), SHAPE, settings)
    reference = align(LinearGaussian(), sigmas(), SHAPE, dataclasses.replace(settings, own_noise=1.0))
    torch.testing.assert_close(result.latents, reference.latents[: len(result.latents)], rtol=0, atol=2e-3)
    if own_noise == 0:
        assert len(result.latents) == 1 and result.report.steps[0].iterations == [0]
    else:
        before, whole = (run.report.steps[0].residual_before for run in (result, reference))
        assert before == pytest.approx([0.16 * value for value in whole], rel=1e-3)


class Watched(LinearGaussian):
    """Notes how many latents exist anywhere in the process whenever its features are asked for."""

    most = 0

    def features(self, x, sigma):
        gc.collect()
        alive = {value.untyped_storage().data_ptr(): value.untyped_storage().nbytes() for value in gc.get_objects()
                 if type(value) is torch.Tensor and value.ndim == 4
                 and tuple(value.shape[1:]) == tuple(self.mean.shape)}
        self.most = max(self.most, sum(alive.values()) // (4 * self.mean.numel()))
        return super().features(x, sigma)


def test_latents_that_are_averaged_and_left_behind_are_never_held_together():
    most = {}
    for count in (600, 2000):
        denoiser = Watched(shape=(1, 7, 11))
        settings = dataclasses.replace(SETTINGS, count=count, aligned_steps=1, solver=LBFGS(iterations=1))
        align(denoiser, sigmas(2), (1, 7, 11), settings, batch=BatchSize(200))
        most[count] = denoiser.most
    assert most[2000] < most[600] + 32 < 1200


def test_a_target_that_is_known_is_not_taken_again():
    """A state that was saved while latents were matched has its target."""
    state = State(60, latents=torch.zeros(3, *SHAPE), target=torch.ones(40), matched=1)
    denoiser = LinearGaussian()
    assert not list(take_mean(denoiser, 1.0, Noise(60, SHAPE, 3), SETTINGS, BatchSize(2), state))
    assert denoiser.feature_rows == 0 and torch.equal(state.target, torch.ones(40))


def test_later_targets_are_means_over_those_that_are_carried_on():
    latents = starting_noise(3, SHAPE, 0)
    state, denoiser = State(60, step=1, latents=latents.clone()), LinearGaussian()
    events = list(take_mean(denoiser, 2.0, Noise(60, SHAPE, 3), SETTINGS, BatchSize(2), state))
    features = LinearGaussian().features(latents, 2.0)
    torch.testing.assert_close(state.target, features.mean(0))
    assert [(event.kind, event.row, event.rows) for event in events[:-1]] == [("mean", 2, 3), ("mean", 3, 3)]
    apart = (features - features.mean(0)).square().sum(1).mean() / features.mean(0).square().sum()
    assert events[-1].kind == "target" and events[-1].value == pytest.approx(apart.item(), rel=1e-5)
    assert torch.equal(state.latents, latents) and denoiser.feature_rows == 3


@hypothesis_settings(max_examples=50, deadline=None)
@given(st.integers(0, 100), st.integers(1, 100), st.integers(1, 20))
def test_blocks_cover_the_rows_and_end_where_their_size_divides(first, count, size):
    parts = split_at_multiples(slice(first, first + count), size)
    assert [row for part in parts for row in range(part.start, part.stop)] == list(range(count))
    assert all((first + part.stop) % size == 0 for part in parts[:-1])
    assert all(0 < part.stop - part.start <= size for part in parts)


def test_rows_with_weights_are_not_taken_for_plain_ones():
    """Their moments would be another mean, without a word."""
    latents = starting_noise(4, SHAPE, 1)
    plain, weighted = (first_features(LinearGaussian(), sigma=2.0, start=Ensemble(latents, weights, (0, 1)))
                       for weights in (torch.ones(4), torch.tensor([1.0, 1.0, 0.5, 2.0])))
    assert torch.equal(plain(slice(0, 4))["latents"], latents) and torch.equal(weighted(slice(0, 2))["latents"],
                                                                               latents[:2])
    with pytest.raises(ValueError, match="count more or less than once"):
        weighted(slice(0, 4))
