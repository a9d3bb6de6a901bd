"""The nodes of latent averaging."""
import pytest


@pytest.fixture(scope="module")
def nodes(comfyui):
    from mental_averages.nodes.interpolation import (
        ChannelMeanInterpolate,
        LatentOffset,
        LatentStatistics,
        MixingWeights,
    )

    return {node.GET_SCHEMA().node_id: node
            for node in (ChannelMeanInterpolate, MixingWeights, LatentStatistics, LatentOffset)}
