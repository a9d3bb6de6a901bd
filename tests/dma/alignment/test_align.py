import dataclasses
import math

import pytest
import torch
from toys import LinearGaussian, sigmas

from mental_averages.dma import diffusion
from mental_averages.dma.alignment import AlignmentSettings, align
from mental_averages.dma.execution import BatchSize
from mental_averages.dma.solvers import LBFGS, Adam

SHAPE = (2, 3, 3)
SETTINGS = AlignmentSettings(count=9, aligned_steps=2, keep=9, seed=3,
                             solver=Adam(learning_rate=0.05, iterations=1500, tolerance=0.0))


def test_closed_form_of_linear_features_and_gaussian_data():
    """With linear, injective features the aligned latents are the mean latent, and the ODE of Gaussian data is
    linear."""
    denoiser, levels = LinearGaussian(), sigmas()
    result = align(denoiser, levels, SHAPE, SETTINGS)
    noise = diffusion.starting_noise(9, SHAPE, seed=3)
    x = (noise * math.sqrt(1 + levels[0].item() ** 2)).mean(0)
    for sigma, sigma_next in zip(levels[:-1].tolist(), levels[1:].tolist()):
        x = x + (sigma_next - sigma) / sigma * (x - denoiser.denoise(x, sigma))
    torch.testing.assert_close(result.latents, x.expand(9, *SHAPE), rtol=0, atol=2e-3)
    report = result.report
    assert len(report.steps) == 2 and report.steps[0].spread < 1e-3 and report.initial_spread > 0.8
    # The error of the mean of K standard normal latents through the matrix, against its closed form.
    expected = denoiser.matrix.norm() / math.sqrt(9) / (denoiser.matrix @ noise.mean(0).flatten()).norm()
    assert report.steps[0].mean_error == pytest.approx(expected.item(), rel=0.35)


def test_no_aligned_steps_is_plain_sampling():
    denoiser, levels = LinearGaussian(), sigmas()
    result = align(denoiser, levels, SHAPE, dataclasses.replace(SETTINGS, aligned_steps=0, keep=2))
    x = diffusion.starting_noise(9, SHAPE, 3)[:2] * math.sqrt(1 + levels[0].item() ** 2)
    for sigma, sigma_next in zip(levels[:-1].tolist(), levels[1:].tolist()):
        x = x + (sigma_next - sigma) / sigma * (x - denoiser.denoise(x, sigma))
    torch.testing.assert_close(result.latents, x)
    assert denoiser.feature_rows == 0 and math.isnan(result.report.final_residual)


def test_one_latent_is_its_own_average():
    result = align(LinearGaussian(), sigmas(), SHAPE, dataclasses.replace(SETTINGS, count=1, keep=1))
    plain = align(LinearGaussian(), sigmas(), SHAPE, dataclasses.replace(SETTINGS, count=1, keep=1, aligned_steps=0))
    torch.testing.assert_close(result.latents, plain.latents, rtol=1e-4, atol=1e-4)
    assert result.report.steps[0].mean_error == 0.0


def test_few_carried_latents_meet_the_mean_of_all():
    """The first target is the mean over all K; what is carried on needs no more than a few latents."""
    settings = dataclasses.replace(SETTINGS, count=60, keep=2, aligned_steps=1)
    few = LinearGaussian()
    carried = align(few, sigmas(), SHAPE, dataclasses.replace(settings, carried=3))
    everything = LinearGaussian()
    reference = align(everything, sigmas(), SHAPE, settings)
    torch.testing.assert_close(carried.latents, reference.latents, rtol=0, atol=2e-3)
    assert carried.report.steps[0].mean_error == reference.report.steps[0].mean_error
    assert len(carried.report.steps[0].residual_after) == 3 and few.feature_rows < 0.1 * everything.feature_rows


@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_result_does_not_depend_on_batch_size(batch_size):
    settings = dataclasses.replace(SETTINGS, solver=Adam(learning_rate=0.05, iterations=40, tolerance=1e-3))
    reference = align(LinearGaussian(), sigmas(), SHAPE, settings, batch=BatchSize(9))
    denoiser = LinearGaussian()
    result = align(denoiser, sigmas(), SHAPE, settings, batch=BatchSize(batch_size))
    torch.testing.assert_close(result.latents, reference.latents, rtol=1e-4, atol=1e-4)
    assert denoiser.largest_batch == batch_size


class SmallMemory(LinearGaussian):
    """Runs out of memory on more than two latents at once."""

    def features(self, x, sigma):
        if len(x) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        return super().features(x, sigma)

    def denoise(self, x, sigma):
        if len(x) > 2:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory")
        return super().denoise(x, sigma)


def test_out_of_memory_halves_the_batch_and_goes_on():
    settings = dataclasses.replace(SETTINGS, solver=Adam(learning_rate=0.05, iterations=30))
    denoiser = SmallMemory()
    result = align(denoiser, sigmas(), SHAPE, settings)
    reference = align(LinearGaussian(), sigmas(), SHAPE, settings)
    assert denoiser.largest_batch == 2
    torch.testing.assert_close(result.latents, reference.latents, rtol=1e-4, atol=1e-4)


def test_passes_in_the_report_are_those_that_the_model_ran():
    denoiser = LinearGaussian()
    settings = AlignmentSettings(count=60, aligned_steps=2, keep=2, carried=3, seed=3,
                                 solver=LBFGS(iterations=30, tolerance=1e-8))
    report = align(denoiser, sigmas(), SHAPE, settings, batch=BatchSize(1)).report
    assert denoiser.feature_rows == sum(step.mean_count + sum(step.forwards) for step in report.steps)
    assert all(forward == backward + 1 for step in report.steps
               for forward, backward in zip(step.forwards, step.backwards))


def test_the_report_names_what_the_result_depends_on():
    settings = dataclasses.replace(SETTINGS, solver=Adam(iterations=1), keep=1)
    found = align(LinearGaussian(), sigmas(), SHAPE, settings).report
    assert found.settings == {**dataclasses.asdict(settings), "sigmas": sigmas().tolist(), "solver_name": "Adam"}
    assert found.seconds > 0


@pytest.mark.parametrize("restored_noise", [0.0, 0.5, 1.0])
def test_noise_lost_by_averaging_is_given_back(restored_noise):
    """After the last aligned step, the same for all latents, so that those that agree go on agreeing."""
    settings = dataclasses.replace(SETTINGS, own_noise=0.0, aligned_steps=1, keep=1, restored_noise=restored_noise)
    denoiser, levels = LinearGaussian(), sigmas()
    found = align(denoiser, levels, SHAPE, settings)
    averaged = diffusion.starting_noise(9, SHAPE, 3).mean(0, keepdim=True) * math.sqrt(1 + levels[0].item() ** 2)
    x = diffusion.sample(denoiser, averaged, levels[:2])
    noise = diffusion.starting_noise(1, SHAPE, 3 ^ 0x5EED)
    expected = diffusion.restore_noise(denoiser, x, levels[1].item(), noise, restored_noise)
    assert torch.equal(x, expected) == (restored_noise == 0)
    torch.testing.assert_close(found.latents, diffusion.sample(denoiser, expected, levels[1:]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("levels, message", [
    ([5.0, 2.0, 2.0, 1.0, 0.0], "do not rise or fall steadily, but are 5, 2, 2, 1, 0"),
    ([0.0, 1.0, 2.0, 5.0], "A schedule falls, but these noise levels rise: 0, 1, 2, 5")])
def test_noise_levels_that_do_not_fall_are_refused(levels, message):
    """At a level that comes twice an aligned step would change nothing."""
    with pytest.raises(ValueError, match=message):
        align(LinearGaussian(), torch.tensor(levels), SHAPE, SETTINGS)
