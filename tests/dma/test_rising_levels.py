"""A schedule falls. Whoever hands over one that rises, as an inversion's does, is told before the model is asked."""
import pytest
import torch

from mental_averages.dma.alignment import AlignmentSettings, align, align_mixture
from mental_averages.dma.baselines import d4m_samples, mode_guided_samples, zero_latent_sample
from mental_averages.dma.clustering import ClusterSettings
from mental_averages.dma.diffusion import Parametrization, draw_samples, sample
from mental_averages.dma.hspace import Probe, ProbeSettings
from mental_averages.dma.mean_shift import (
    FamilySettings,
    MeanShiftSettings,
    TreeSettings,
    family_tree,
    mean_shift,
    mode_tree,
)

SHAPE = (1, 2, 2)
RISING = torch.linspace(0, 4, 6)
LATENTS = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(0))


class Untouched:
    parametrization, device = Parametrization.EPS, torch.device("cpu")

    def denoise(self, x, sigma):
        raise AssertionError("the model was asked")

    features = denoise


MODEL = Untouched()
FAMILY = FamilySettings(4, 5, TreeSettings(steps=(1, 2), count=2, iterations=3), MeanShiftSettings(2, 1))
LOOPS = {
    "align": lambda: align(MODEL, RISING, SHAPE, AlignmentSettings(count=4, aligned_steps=1)),
    "align_mixture": lambda: align_mixture(MODEL, RISING, SHAPE, AlignmentSettings(count=4, aligned_steps=1),
                                           ClusterSettings(2), 1),
    "draw_samples": lambda: draw_samples(MODEL, RISING, SHAPE, 2, 0),
    "sample": lambda: sample(MODEL, LATENTS, RISING),
    "mean_shift": lambda: mean_shift(MODEL, RISING, SHAPE, MeanShiftSettings(count=4, averaged_steps=1)),
    "mode_tree": lambda: mode_tree(MODEL, LATENTS, RISING, FAMILY.tree),
    "family_tree": lambda: family_tree(MODEL, RISING, SHAPE, FAMILY, seeking=MODEL, averaging=MODEL, samples=LATENTS),
    "d4m_samples": lambda: d4m_samples(MODEL, RISING, LATENTS),
    "mode_guided_samples": lambda: mode_guided_samples(MODEL, RISING, LATENTS),
    "a probe of layers": lambda: Probe(("one",), tuple(RISING.tolist()), SHAPE, 1, ProbeSettings()),
    "zero_latent_sample": lambda: zero_latent_sample(MODEL, RISING, SHAPE),
}


@pytest.mark.parametrize("name", LOOPS)
def test_levels_that_rise_are_refused_before_the_model_is_asked(name):
    with pytest.raises(ValueError, match="A schedule falls, but these noise levels rise"):
        LOOPS[name]()
