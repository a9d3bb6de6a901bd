import torch
from peak_memory import largest_made_by

from mental_averages.dma import baselines


def test_mean_of_a_batch_is_accumulated_in_double():
    batch = torch.full((1000, 1, 1, 1), 0.1) + 1000
    assert baselines.mean_of(batch).dtype == torch.float32
    torch.testing.assert_close(baselines.mean_of(batch)[0], batch[0], rtol=0, atol=0)
    large = torch.rand(9, 2**20)  # in several blocks
    torch.testing.assert_close(baselines.mean_of(large)[0], large.double().mean(0).float(), rtol=0, atol=0)


def test_no_copy_of_all_pictures_is_made():
    pictures = torch.rand(24, 512, 512, 3)
    assert largest_made_by(lambda: baselines.mean_of(pictures)) <= 2**25 < pictures.nbytes / 2
