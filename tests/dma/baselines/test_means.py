import torch

from mental_averages.dma import baselines


def test_mean_of_a_batch_is_accumulated_in_double():
    batch = torch.full((1000, 1, 1, 1), 0.1) + 1000
    assert baselines.mean_of(batch).dtype == torch.float32
    torch.testing.assert_close(baselines.mean_of(batch)[0], batch[0], rtol=0, atol=0)
