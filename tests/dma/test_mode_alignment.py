import dataclasses
import math
from collections import defaultdict

import pytest
import torch
from hypothesis import given, settings, strategies as st
from memory import Memory
from toys import LinearGaussian, sigmas

from mental_averages.dma.alignment import (
    AlignmentSettings,
    Ensemble,
    MixtureMonitor,
    MixtureReport,
    align,
    align_mixture,
)
from mental_averages.dma.clustering import ClusterSettings
from mental_averages.dma.diffusion import Parametrization, deterministic_step, starting_noise
from mental_averages.dma.execution import BatchSize, Checkpoint
from mental_averages.dma.figures import plot_mixture
from mental_averages.dma.solvers import LBFGS, Adam
from mental_averages.dma.statistics import RunningMoments

SHAPE = (2, 3, 3)
LEVEL = 6
SETTINGS = AlignmentSettings(count=40, aligned_steps=2, keep=2, seed=3, solver=LBFGS(iterations=60, tolerance=1e-7),
                             carried=2)
MIXTURE = ClusterSettings(2, 2, dimensions=6, covariance="spherical")
LEVELS = sigmas(10)


class TwoModes(LinearGaussian):
    """Data ~ share N(mean, variance I) + (1 - share) N(-mean, variance I), its exact denoiser, and linear features."""

    share = 0.65

    def denoise(self, x, sigma):
        total = self.variance + sigma**2
        means = torch.stack([self.mean, -self.mean])  # (2, C, H, W)
        apart = x[:, None] - means  # (B, 2, C, H, W)
        odds = torch.tensor([self.share, 1 - self.share]).log() - apart.square().flatten(2).sum(2) / (2 * total)
        found = means + self.variance / total * apart
        return (odds.softmax(1)[:, :, None, None, None] * found).sum(1)


def sampled(denoiser, x, levels):
    """The deterministic ODE, written out."""
    for sigma, sigma_next in zip(levels[:-1].tolist(), levels[1:].tolist()):
        x = deterministic_step(x, denoiser.denoise(x, sigma), sigma, sigma_next)
    return x


def first_latents(levels=LEVELS):
    return starting_noise(40, SHAPE, 3) * math.sqrt(1 + levels[0].item() ** 2)


def test_each_mode_of_two_gaussians_has_its_own_average():
    """Linear, injective features: the average of a mode is the path of its mean latent, which ends near its Gaussian's
    mean."""
    denoiser = TwoModes()
    found = align_mixture(denoiser, LEVELS, SHAPE, SETTINGS, MIXTURE, LEVEL)
    samples = sampled(denoiser, first_latents(), LEVELS)
    torch.testing.assert_close(found.samples, samples)
    is_second = (samples * denoiser.mean).flatten(1).sum(1) < 0
    assert 0 < is_second.sum() < 20
    assert torch.equal(found.clusters.labels, is_second.long()), "the mixture finds the true modes, the larger first"

    at_level = sampled(denoiser, first_latents(), LEVELS[: LEVEL + 1])
    for mode, sign in ((0, 1), (1, -1)):
        weights = found.clusters.responsibilities[:, mode].float()
        mean = torch.tensordot(weights / weights.sum(), at_level, 1)
        expected = sampled(denoiser, mean[None], LEVELS[LEVEL:])
        torch.testing.assert_close(found.latents[mode], expected.expand(2, *SHAPE), rtol=0, atol=5e-3)
        # Nearer to the middle of its Gaussian than any of its samples is.
        apart = (samples[found.clusters.labels == mode] - sign * denoiser.mean).flatten(1).norm(dim=1)
        assert (found.latents[mode][0] - sign * denoiser.mean).norm() < apart.min()


def test_report_says_where_the_averages_are():
    found = align_mixture(TwoModes(), LEVELS, SHAPE, SETTINGS, MIXTURE, LEVEL)
    report = found.report
    assert report.in_own_mode == 2 and [record.nearest for record in report.modes] == [0, 1]
    assert [record.count for record in report.modes] == [len(members) for members in found.clusters.members]
    assert all(len(record.steps) == 2 and record.steps[0].sigma == pytest.approx(LEVELS[LEVEL].item())
               for record in report.modes)
    assert MixtureReport.from_json(report.to_json()) == report
    image = plot_mixture(report, 600)
    assert image.shape[0] == 1 and image.shape[2:] == (600, 3) and image.std() > 0.02
    swapped = dataclasses.replace(report, modes=report.modes[::-1])
    assert swapped.in_own_mode == 0


@pytest.mark.parametrize("text, message", [
    ("{", "not JSON"), ('{"format": "mental-averages/alignment-report"}', "not a report of the averages of modes"),
    ('{"format": "mental-averages/mode-alignment-report", "version": 1, "modes": [{"count": 1}]}', "damaged")])
def test_other_texts_are_no_report(text, message):
    with pytest.raises(ValueError, match=message):
        MixtureReport.from_json(text)


def test_samples_from_elsewhere_are_brought_to_the_level_by_noise():
    """Data drawn from the two Gaussians: each average ends nearer to the middle of its own than the data are."""
    denoiser = TwoModes()
    noise = starting_noise(40, SHAPE, 11)
    truth = (torch.arange(40) % 3 == 0).long()
    samples = denoiser.variance**0.5 * noise + (1 - 2 * truth)[:, None, None, None] * denoiser.mean
    found = align_mixture(denoiser, LEVELS, SHAPE, SETTINGS, MIXTURE, LEVEL, samples=samples)
    assert torch.equal(found.clusters.labels, truth) and found.samples is samples and found.report.in_own_mode == 2
    at_level = samples + LEVELS[LEVEL] * starting_noise(40, SHAPE, SETTINGS.seed)
    for mode, sign in ((0, 1), (1, -1)):
        weights = found.clusters.responsibilities[:, mode].float()
        mean = torch.tensordot(weights / weights.sum(), at_level, 1)
        torch.testing.assert_close(found.latents[mode][:1], sampled(denoiser, mean[None], LEVELS[LEVEL:]), rtol=0,
                                   atol=5e-3)
        apart = (samples[truth == mode] - sign * denoiser.mean).flatten(1).norm(dim=1)
        assert (found.latents[mode][0] - sign * denoiser.mean).norm() < apart.min()


def test_one_component_is_the_average_of_all_from_the_level_on():
    denoiser = TwoModes()
    found = align_mixture(denoiser, LEVELS, SHAPE, SETTINGS, ClusterSettings(1, 1), LEVEL)
    mean = sampled(denoiser, first_latents(), LEVELS[: LEVEL + 1]).mean(0)
    torch.testing.assert_close(found.latents[0], sampled(denoiser, mean[None], LEVELS[LEVEL:]).expand(2, *SHAPE),
                               rtol=0, atol=5e-3)
    assert len(found.latents) == 1 and found.report.modes[0].effective_count == pytest.approx(40)


def test_result_does_not_depend_on_batch_size():
    reference = align_mixture(TwoModes(), LEVELS, SHAPE, SETTINGS, MIXTURE, LEVEL)
    found = align_mixture(TwoModes(), LEVELS, SHAPE, SETTINGS, MIXTURE, LEVEL, batch=BatchSize(3))
    for mode in range(2):
        torch.testing.assert_close(found.latents[mode], reference.latents[mode], rtol=1e-3, atol=1e-3)
    assert torch.equal(found.clusters.labels, reference.clusters.labels)


@pytest.mark.parametrize("stop_after", [12, 30, 60, 68])
def test_gone_on_with_after_an_interrupt_it_ends_the_same(stop_after):
    arguments = (LEVELS, SHAPE, SETTINGS, MIXTURE, LEVEL)
    parts, heard = defaultdict(Memory), []

    def average(denoiser, tell, *, saving=True):
        monitor = MixtureMonitor(tell, SETTINGS, LEVELS, MIXTURE, LEVEL)
        if not saving:
            return align_mixture(denoiser, *arguments, batch=BatchSize(8), watchers=[monitor])
        return align_mixture(denoiser, *arguments, batch=BatchSize(8),
                             watchers=[Checkpoint(parts.__getitem__, seconds=-1), monitor],
                             restored=lambda part: parts[part].load())

    def interrupt(event):
        heard.append(event.fraction)
        if len(heard) == stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        average(TwoModes(), interrupt)
    assert heard == sorted(heard) and heard[-1] < 1
    rest = []
    resumed = average(TwoModes(), lambda event: rest.append(event.fraction))
    whole = []  # one event per batch of predictions, of a mean and of a match
    reference = average(TwoModes(), lambda event: whole.append(event.fraction), saving=False)
    assert all(torch.equal(*pair) for pair in zip(resumed.latents, reference.latents))
    assert torch.equal(resumed.samples, reference.samples)
    assert len(rest) < len(whole) and whole == sorted(whole) and whole[-1] == pytest.approx(1)
    # All of it is saved at the end: once more is no work for the model.
    again = TwoModes()
    average(again, rest.append)
    assert again.feature_rows == 40 + 4, "nothing but where the averages are is measured again"


@pytest.mark.parametrize("change, level, message", [
    (dict(), 10, "choose an earlier level"), (dict(aligned_steps=7), 6, "only 4 of 10 steps are left"),
    (dict(count=1), 4, "at least two pictures"), (dict(count=0), 4, "at least 1 latent"),
    (dict(carried=-1), 4, "carried is -1")])
def test_bad_settings_are_refused_before_any_work(change, level, message):
    denoiser = TwoModes()
    denoiser.denoise = None
    with pytest.raises(ValueError, match=message):
        align_mixture(denoiser, LEVELS, SHAPE, dataclasses.replace(SETTINGS, **change), MIXTURE, level)


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


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=5), st.integers(0, 1000), st.floats(1e-6, 1e6))
def test_weighted_moments(sizes, seed, scale):
    """In any batches: integer weights are repeated rows, their common scale has no effect, and the error is that of sum
    w x."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(sum(sizes), 3, 2, generator=generator, dtype=torch.float64) + 10
    times = torch.randint(0, 4, (len(rows),), generator=generator)
    times[-1] = 2
    moments = RunningMoments()
    for chunk, weights in zip(rows.split(sizes), times.split(sizes)):
        moments.update(chunk, scale * weights)
    repeated = rows.repeat_interleave(times, 0)
    torch.testing.assert_close(moments.mean, repeated.mean(0))
    torch.testing.assert_close(moments.deviations / moments.weight, repeated.var(0, correction=0), rtol=1e-6, atol=1e-9)
    shares = times.double() / times.sum()
    assert moments.count == len(rows) and moments.effective_count == pytest.approx(1 / shares.square().sum().item())
    if (times > 0).sum() > 1:
        # Unbiased for independent rows, E sum w (x - m)^2 = var (sum w - sum w^2 / sum w); their mean has the variance
        # var sum w^2.
        variance = (shares @ (rows - moments.mean).square().flatten(1)) / (1 - shares.square().sum())
        torch.testing.assert_close(moments.variance.flatten(), variance, rtol=1e-6, atol=1e-9)
        error = (variance.sum() * shares.square().sum()).sqrt() / moments.mean.norm()
        assert moments.standard_error == pytest.approx(error.item(), rel=1e-6)


def test_rows_without_weight_do_not_count():
    rows = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    moments = RunningMoments()
    for chunk, weights in ((rows[:2], torch.zeros(2)), (rows[2:5], torch.ones(3)), (rows[5:], torch.zeros(1))):
        moments.update(chunk, weights)
    torch.testing.assert_close(moments.mean, rows[2:5].double().mean(0))
    torch.testing.assert_close(moments.variance, rows[2:5].double().var(0))
    alone = RunningMoments()
    alone.update(rows[:2], torch.tensor([0.0, 1.0]))
    assert alone.variance.isnan().all() and alone.effective_count == 1
