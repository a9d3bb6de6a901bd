import pytest
import torch
from memory import copied
from toys import LinearGaussian

from mental_averages.dma.alignment._mixture_features import LARGEST_GRID, Reading, read_pooled
from mental_averages.dma.diffusion import starting_noise
from mental_averages.dma.execution import BatchSize, drive

SHAPE = (2, 3, 3)


def read(denoiser, latents, reading=None, watchers=()):
    reading = reading or Reading()
    drive(read_pooled(denoiser, latents, 1.0, BatchSize(2), reading), reading, watchers)
    return reading.features


def test_features_of_large_maps_are_averaged_over_a_grid():
    class Maps:
        device = torch.device("cpu")

        def features(self, x, sigma):
            return x.repeat_interleave(4, 2).repeat_interleave(8, 3)

    x = starting_noise(3, (2, LARGEST_GRID, LARGEST_GRID), 0)
    torch.testing.assert_close(read(Maps(), x), x.flatten(1))
    small = starting_noise(3, (2, 1, 1), 0)  # maps of 4 x 8
    assert torch.equal(read(Maps(), small), Maps().features(small, 1.0).flatten(1))


def test_every_micro_batch_is_told_of_and_none_is_read_twice():
    latents, heard = starting_noise(5, SHAPE, 0), []
    expected = read(LinearGaussian(), latents,
                    watchers=[lambda event, state: heard.append((event, copied(*state.packed())))])
    torch.testing.assert_close(expected, LinearGaussian().features(latents, 1.0))
    assert [(event.kind, event.amount, event.row, event.rows, event.changed, event.closes) for event, _ in heard] == [
        ("read", 2, 2, 5, True, False), ("read", 2, 4, 5, True, False), ("read", 1, 5, 5, True, True)]
    for event, saved in heard:
        denoiser, reading = LinearGaussian(), Reading.unpacked(*saved)
        assert reading.where == f"row {event.row}" and copied(*reading.packed())[1] == saved[1]
        assert torch.equal(read(denoiser, latents, reading), expected) and denoiser.feature_rows == 5 - event.row


@pytest.mark.parametrize("tensors, read", [({}, 0), ({"features": torch.ones(4, 3)}, 4)])
def test_earlier_versions_saved_features_when_all_were_read(tensors, read):
    assert Reading.unpacked(tensors, {"step": 1, "seconds": 0.5, "pace": {}}).read == read
