"""Features read in micro-batches are those of the whole."""
import pytest
import torch
from toys import LinearGaussian

from mental_averages.dma.execution import BatchSize
from mental_averages.dma.models import read_features


@pytest.mark.parametrize("size", [None, 1, 2, 7])
def test_rows_and_their_features_cover_all_latents(size):
    denoiser, latents = LinearGaussian(), torch.randn(5, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    found = list(read_features(denoiser, latents, 1.5, batch=size and BatchSize(size)))
    assert [rows.start for rows, _ in found] == list(range(0, 5, size or 5)) and found[-1][0].stop == 5
    assert denoiser.largest_batch == min(5, size or 5)
    torch.testing.assert_close(torch.cat([features for _, features in found]), denoiser.features(latents, 1.5))


def test_rows_that_are_known_are_not_read_again():
    denoiser, latents = LinearGaussian(), torch.randn(5, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    found = list(read_features(denoiser, latents, 1.5, batch=BatchSize(2), first=2))
    assert [(rows.start, rows.stop) for rows, _ in found] == [(2, 4), (4, 5)] and denoiser.feature_rows == 3
    torch.testing.assert_close(torch.cat([features for _, features in found]), denoiser.features(latents[2:], 1.5))


def test_no_gradient_is_recorded_and_the_mode_outside_stays():
    latents = torch.ones(3, 2, 3, 3, requires_grad=True)
    with torch.enable_grad():
        for _, features in read_features(LinearGaussian(), latents, 1.0, batch=BatchSize(1)):
            assert not features.requires_grad and torch.is_grad_enabled()


def test_nothing_is_read_before_it_is_asked_for():
    denoiser = LinearGaussian()
    found = read_features(denoiser, torch.ones(4, 2, 3, 3), 1.0, batch=BatchSize(1))
    assert denoiser.feature_rows == 0
    next(found)
    assert denoiser.feature_rows == 1


def test_running_out_of_memory_halves_the_batch():
    class Small(LinearGaussian):
        def features(self, x, sigma):
            if len(x) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().features(x, sigma)

    batch = BatchSize(5)
    found = read_features(Small(), torch.ones(5, 2, 3, 3), 1.0, batch=batch)
    assert [rows.stop - rows.start for rows, _ in found] == [2, 2, 1] and batch.value == 2
