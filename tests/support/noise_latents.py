"""Made-up noise latents of inversions, and their mixtures."""
import math

import torch
from hypothesis import settings, strategies as st

from mental_averages.dma import interpolation
from mental_averages.dma.interpolation import MEAN_ADJUSTMENTS, METHODS

SHAPE = (4, 8, 8)
MANY_INPUTS = [method for method in METHODS if not method.startswith("slerp")]
any_method = st.sampled_from(MANY_INPUTS)
# A mean adjustment and the width of its low pass.
any_split = st.one_of(st.tuples(st.sampled_from(MEAN_ADJUSTMENTS[:3]), st.just(math.inf)),
                      st.tuples(st.just("low_pass"), st.floats(0.3, 20)))
thorough = settings(max_examples=15, deadline=None)


def noise(count, seed=0, bias=0.1, scale=1.0, shape=SHAPE):
    generator = torch.Generator().manual_seed(seed)
    return scale * (torch.randn(count, *shape, generator=generator)
                    + bias * torch.randn(1, shape[0], 1, 1, generator=generator))


def random_weights(count, seed):
    weights = torch.rand(1, count, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + 0.05
    return weights / weights.sum()


def mixture_of(latents, weights, method, split=("channel", math.inf)):
    return interpolation.interpolate(latents, weights, method=method, mean_adjustment=split[0],
                                     low_pass_width=split[1])


def mix(latents, weights, method, split=("channel", math.inf)):
    return mixture_of(latents, weights, method, split).latents


def separate(latents, split):
    return interpolation.separate_noise(latents, split[0], low_pass_width=split[1])


def norms(latents):
    return latents.double().flatten(1).norm(dim=1)


# The common part of `biased` latents, by channel.
BIAS = torch.tensor([0.15, -0.1, 0.05, 0.0])


def biased(count, seed=0, shape=(4, 16, 16)):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed)) + BIAS[:, None, None]
