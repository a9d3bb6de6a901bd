import torch
from toys import LinearGaussian

from mental_averages.dma.execution import BatchSize
from mental_averages.dma.representation import MeansMonitor, MeansState, Reading, channel_means


def test_progress_rises_to_the_end_and_goes_on_after_a_resume():
    latents, sigmas, reading, told = torch.randn(3, 2, 3, 3), [1.0, 0.0], Reading(4), []
    monitor = MeansMonitor(told.append, reading, 3, sigmas)
    channel_means(LinearGaussian(), latents, sigmas, reading, batch=BatchSize(5), watchers=[monitor])
    assert [progress.fraction for progress in told] == [5 / 15, 10 / 15, 12 / 15, 1.0]
    assert told[0].message == "5 of 15 noisy latents read"
    # As if it had been read up to here before.
    state = MeansState(10, {"": torch.zeros(3, 2, 40, dtype=torch.float64)})
    told.clear()
    channel_means(LinearGaussian(), latents, sigmas, reading, batch=BatchSize(5), watchers=[monitor], state=state)
    assert [progress.fraction for progress in told] == [12 / 15, 1.0]
