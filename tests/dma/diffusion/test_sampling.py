"""Deterministic steps with the true clean latent, sampling against a loop, and the noise that is given back."""
import pytest
import torch
from toys import LinearGaussian, sigmas

from mental_averages.dma import diffusion
from mental_averages.dma.diffusion import (
    Parametrization,
    noise_in,
    restore_noise,
    sample,
    shell_norm,
    starting_noise,
    stepping,
)
from mental_averages.dma.execution import BatchSize, drive

EPS, V, FLOW = Parametrization.EPS, Parametrization.V, Parametrization.FLOW
SHAPE = (2, 3, 3)


@pytest.mark.parametrize("parametrization", [EPS, V, FLOW])
def test_step_with_the_true_clean_latent_keeps_the_noise(parametrization):
    clean, noise = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    x = diffusion.add_noise(parametrization, clean, noise, 0.9)
    for sigma_next in (0.4, 0.0, 0.95):
        stepped = diffusion.deterministic_step(x, clean, 0.9, sigma_next)
        torch.testing.assert_close(stepped, diffusion.add_noise(parametrization, clean, noise, sigma_next))


def test_step_from_zero_is_refused():
    with pytest.raises(ValueError, match="positive noise level"):
        diffusion.deterministic_step(torch.zeros(1), torch.zeros(1), 0.0, 1.0)


def test_a_step_points_at_the_clean_latent_it_was_given():
    x, clean = torch.randn(2, 3, 4, 4)
    stepped = diffusion.deterministic_step(x, clean, 0.9, 0.4)
    torch.testing.assert_close(diffusion.clean_estimate(x, stepped, 0.9, 0.4), clean)


@pytest.mark.parametrize("batch", [None, BatchSize(1), BatchSize(2), BatchSize(5)])
def test_sampling_is_a_loop_of_steps_whatever_the_batch(batch):
    denoiser, levels = LinearGaussian(), sigmas()
    start = 10 * starting_noise(5, SHAPE, 1)
    x = start
    for sigma, sigma_next in zip(levels[:-1].tolist(), levels[1:].tolist()):
        x = x + (sigma_next - sigma) / sigma * (x - denoiser.denoise(x, sigma))
    torch.testing.assert_close(sample(denoiser, start, levels, batch=batch), x)


def test_every_finished_batch_is_heard_of():
    denoiser, heard = LinearGaussian(), []
    start = starting_noise(5, SHAPE, 1)
    drive(stepping(denoiser, start, 1.0, 0.5, BatchSize(2)), None, [lambda event, state: heard.append(event)])
    assert [(event.kind, event.amount, event.row, event.rows) for event in heard] == [
        ("predict", 2, 2, 5), ("predict", 2, 4, 5), ("predict", 1, 5, 5)]
    torch.testing.assert_close(torch.cat([event.clean for event in heard]), denoiser.denoise(start, 1.0)[[0, 2, 4]])
    sample(denoiser, start, sigmas(3), batch=BatchSize(3), watchers=[lambda event, state: heard.append(event)])
    assert len(heard) == 3 + 3 * 2


def test_restored_noise_brings_latents_back_to_the_shell_and_keeps_their_agreement():
    denoiser, sigma, shape = LinearGaussian(shape=(4, 16, 16)), 5.0, (4, 16, 16)
    aligned = (denoiser.mean + 0.3 * sigma * starting_noise(1, shape, 1)).expand(3, *shape).clone()
    noise = starting_noise(1, shape, 2)
    restored = restore_noise(denoiser, aligned, sigma, noise, 1.0, batch=BatchSize(2))
    torch.testing.assert_close(restored[0], restored[2], rtol=0, atol=0)
    before, after = (noise_in(denoiser.parametrization, x, denoiser.mean, sigma).flatten(1).norm(dim=1) / shell_norm(x)
                     for x in (aligned, restored))
    assert before[0] < 0.35 and after[0] == pytest.approx(1.0, abs=0.03)
    torch.testing.assert_close(restore_noise(denoiser, aligned, sigma, noise, 0.0, batch=BatchSize(2)), aligned)
    # A latent that already carries its full noise is left alone.
    full = denoiser.mean + 2 * sigma * noise
    torch.testing.assert_close(restore_noise(denoiser, full, sigma, noise, 1.0, batch=BatchSize(2)), full)


def test_predictions_that_are_not_finite_name_their_step():
    class Breaking:
        device = torch.device("cpu")

        def denoise(self, x, sigma):
            return 0 * x * (torch.nan if sigma < 2.5 else 1)

    with pytest.raises(ValueError, match="Step 3 of 4: The latents predicted at noise level 2 contain NaN"):
        sample(Breaking(), torch.ones(3, 1, 2, 2), torch.tensor([4.0, 3.0, 2.0, 1.0, 0.0]))
