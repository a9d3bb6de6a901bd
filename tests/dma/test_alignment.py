import dataclasses
import math

import pytest
import torch
from memory import Memory, copied
from toys import LinearGaussian, sigmas

from mental_averages.dma import diffusion, execution
from mental_averages.dma.alignment import AlignmentSettings, Monitor, State, align
from mental_averages.dma.diffusion import noise_in, restore_noise, shell_norm
from mental_averages.dma.execution import BatchSize, Checkpoint
from mental_averages.dma.solvers import Adam

SETTINGS = AlignmentSettings(count=9, aligned_steps=2, keep=9, seed=3,
                             solver=Adam(learning_rate=0.05, iterations=1500, tolerance=0.0))
SHAPE = (2, 3, 3)


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


def test_standard_error_of_the_mean_is_exact_for_the_drawn_latents():
    denoiser, levels = LinearGaussian(), sigmas()
    result = align(denoiser, levels, SHAPE, dataclasses.replace(SETTINGS, aligned_steps=1, solver=Adam(iterations=0)))
    features = denoiser.features(diffusion.starting_noise(9, SHAPE, 3) * math.sqrt(1 + levels[0].item() ** 2),
                                 levels[0].item())
    expected = (features.double().var(0).sum() / 9).sqrt() / features.double().mean(0).norm()
    assert result.report.steps[0].mean_error == pytest.approx(expected.item(), rel=1e-5)


def test_no_aligned_steps_is_plain_sampling():
    denoiser, levels = LinearGaussian(), sigmas()
    result = align(denoiser, levels, SHAPE, dataclasses.replace(SETTINGS, aligned_steps=0, keep=2))
    x = diffusion.starting_noise(9, SHAPE, 3)[:2] * math.sqrt(1 + levels[0].item() ** 2)
    for sigma, sigma_next in zip(levels[:-1].tolist(), levels[1:].tolist()):
        x = x + (sigma_next - sigma) / sigma * (x - denoiser.denoise(x, sigma))
    torch.testing.assert_close(result.latents, x)
    assert denoiser.feature_rows == 0 and math.isnan(result.report.final_residual)


@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_result_does_not_depend_on_batch_size(batch_size):
    settings = dataclasses.replace(SETTINGS, solver=Adam(learning_rate=0.05, iterations=40, tolerance=1e-3))
    reference = align(LinearGaussian(), sigmas(), SHAPE, settings, batch=BatchSize(9))
    denoiser = LinearGaussian()
    result = align(denoiser, sigmas(), SHAPE, settings, batch=BatchSize(batch_size))
    torch.testing.assert_close(result.latents, reference.latents, rtol=1e-4, atol=1e-4)
    assert denoiser.largest_batch == batch_size


def test_every_saved_state_leads_to_the_same_result():
    settings = dataclasses.replace(SETTINGS, solver=Adam(learning_rate=0.05, iterations=20), keep=3, target_updates=2)
    memory = Memory()
    reference = align(LinearGaussian(), sigmas(), SHAPE, settings, batch=BatchSize(2),
                      watchers=[Checkpoint(memory, seconds=-1)])
    assert len(memory.saves) > 10
    for tensors, meta in memory.saves:
        resumed = align(LinearGaussian(), sigmas(), SHAPE, settings, batch=BatchSize(2),
                        state=State.unpacked(*copied(tensors, meta)))
        torch.testing.assert_close(resumed.latents, reference.latents, rtol=0, atol=0)
        assert resumed.report.steps == reference.report.steps


def test_interrupt_keeps_what_was_done():
    memory = Memory()

    def interrupt(event):
        if len(memory.saves) == 3:
            raise KeyboardInterrupt

    settings = dataclasses.replace(SETTINGS, solver=Adam(iterations=10))
    with pytest.raises(KeyboardInterrupt):
        align(LinearGaussian(), sigmas(), SHAPE, settings, batch=BatchSize(2),
              watchers=[Checkpoint(memory, seconds=-1), lambda event, state: interrupt(event)])
    resumed = align(LinearGaussian(), sigmas(), SHAPE, settings, batch=BatchSize(2),
                    state=State.unpacked(*memory.load()))
    reference = align(LinearGaussian(), sigmas(), SHAPE, settings, batch=BatchSize(2))
    torch.testing.assert_close(resumed.latents, reference.latents, rtol=0, atol=0)


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


def test_out_of_memory_with_one_latent_is_an_error():
    size = execution.BatchSize(4)
    with pytest.raises(torch.OutOfMemoryError):
        list(size.over(8, lambda rows: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory"))))
    assert size.value == 1


def test_other_errors_are_not_taken_for_memory():
    with pytest.raises(RuntimeError, match="shape"):
        list(execution.BatchSize(4).over(8, lambda rows: (_ for _ in ()).throw(RuntimeError("shape mismatch"))))


@pytest.mark.parametrize("change, message", [
    (dict(count=0), "count is 0"), (dict(aligned_steps=9), "only 8 steps"), (dict(aligned_steps=-1), "aligned_steps"),
    (dict(keep=0), "keep is 0"), (dict(target_updates=0), "target_updates"),
    (dict(restored_noise=1.5), "restored_noise"), (dict(carried=-1), "carried"),
])
def test_settings_that_make_no_sense(change, message):
    with pytest.raises(ValueError, match=message):
        align(LinearGaussian(), sigmas(8), SHAPE, dataclasses.replace(SETTINGS, **change))


def test_progress_rises_to_one():
    fractions = []
    settings = dataclasses.replace(SETTINGS, solver=Adam(iterations=5), keep=2)
    align(LinearGaussian(), sigmas(), SHAPE, settings, batch=BatchSize(2),
          watchers=[Monitor(lambda event: fractions.append(event.fraction), settings, sigmas())])
    assert fractions == sorted(fractions) and fractions[-1] == pytest.approx(1.0) and fractions[0] < 0.1


def test_one_latent_is_its_own_average():
    result = align(LinearGaussian(), sigmas(), SHAPE, dataclasses.replace(SETTINGS, count=1, keep=1))
    plain = align(LinearGaussian(), sigmas(), SHAPE, dataclasses.replace(SETTINGS, count=1, keep=1, aligned_steps=0))
    torch.testing.assert_close(result.latents, plain.latents, rtol=1e-4, atol=1e-4)
    assert result.report.steps[0].mean_error == 0.0


def test_restored_noise_brings_latents_back_to_the_shell_and_keeps_their_agreement():
    denoiser, sigma, shape = LinearGaussian(shape=(4, 16, 16)), 5.0, (4, 16, 16)
    aligned = (denoiser.mean + 0.3 * sigma * diffusion.starting_noise(1, shape, 1)).expand(3, *shape).clone()
    noise = diffusion.starting_noise(1, shape, 2)
    restored = restore_noise(denoiser, aligned, sigma, noise, 1.0, batch=execution.BatchSize(2))
    torch.testing.assert_close(restored[0], restored[2], rtol=0, atol=0)
    before, after = (noise_in(denoiser.parametrization, x, denoiser.mean, sigma).flatten(1).norm(dim=1) / shell_norm(x)
                     for x in (aligned, restored))
    assert before[0] < 0.35 and after[0] == pytest.approx(1.0, abs=0.03)
    unchanged = restore_noise(denoiser, aligned, sigma, noise, 0.0, batch=execution.BatchSize(2))
    torch.testing.assert_close(unchanged, aligned)
    # A latent that already carries its full noise is left alone.
    full = denoiser.mean + 2 * sigma * noise
    torch.testing.assert_close(restore_noise(denoiser, full, sigma, noise, 1.0, batch=execution.BatchSize(2)), full)


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


def test_progress_and_resume_with_few_carried_latents():
    settings = dataclasses.replace(SETTINGS, count=40, keep=1, carried=4, solver=Adam(iterations=20))
    memory, fractions = Memory(), []
    reference = align(LinearGaussian(), sigmas(), SHAPE, settings, batch=BatchSize(2), watchers=[
        Checkpoint(memory, seconds=-1), Monitor(lambda event: fractions.append(event.fraction), settings, sigmas())])
    assert fractions == sorted(fractions) and fractions[-1] == pytest.approx(1.0)
    for tensors, meta in memory.saves:
        resumed = align(LinearGaussian(), sigmas(), SHAPE, settings, batch=BatchSize(2),
                        state=State.unpacked(*copied(tensors, meta)))
        torch.testing.assert_close(resumed.latents, reference.latents, rtol=0, atol=0)
