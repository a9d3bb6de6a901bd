"""ChannelMeanInterpolate, MixingWeights, LatentStatistics and LatentOffset."""
from ._channel_mean_interpolate import ChannelMeanInterpolate
from ._latent_offset import LatentOffset
from ._latent_statistics import LatentStatistics
from ._mixing_weights import MixingWeights

__all__ = ["ChannelMeanInterpolate", "LatentOffset", "LatentStatistics", "MixingWeights"]
