"""What is told of a reconstruction."""
import torch
from toys import LinearGaussian

from mental_averages.dma.execution import BatchSize
from mental_averages.dma.representation import (
    Reading,
    ReconstructionMonitor,
    ReconstructionSettings,
    channel_means,
    reconstruct,
)
from mental_averages.dma.solvers import AdamToShare


def test_the_share_of_the_work_rises_to_1_with_a_picture_to_look_at():
    toy, told = LinearGaussian((2, 3, 3), features=5), []
    found = channel_means(toy, torch.randn(2, 2, 3, 3), [2.0, 0.5], Reading(3))
    settings = ReconstructionSettings(count=3, solver=AdamToShare(iterations=4))
    reconstruct(toy, found, settings, batch=BatchSize(2),
                watchers=[ReconstructionMonitor(told.append, settings, found)])
    fractions = [each.fraction for each in told]
    assert fractions == sorted(fractions) and fractions[-1] == 1 and len(set(fractions)) == len(fractions)
    # 3 latents at 2 levels, 4 steps with 5 forward passes and a prediction each; 18 noisy latents.
    first = next(each for each in told if each.preview is not None)
    assert first.fraction == 2 * 10 / (3 * 2 * 10 + 18)
    assert first.message.startswith("level 1 of 2, 2 of 3 latents matched, distance ")
    assert first.preview.shape == (1, 2, 3, 3)
    # The first of at most four iterations of two latents.
    assert fractions[0] == 2 * 10 / 5 / (3 * 2 * 10 + 18)
    assert told[0].message.startswith("level 1 of 2, 0 of 3 latents matched, iteration 1 of the next, distance ")
    assert told[-1].message == "18 of 18 noisy latents read"
