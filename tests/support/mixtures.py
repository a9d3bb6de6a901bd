"""Noise, and ChannelMeanInterpolate with short arguments."""
import torch


def noise(count, seed=0, shape=(4, 8, 8)):
    return {"samples": torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))}


def mix(nodes, latents, weights="", method="fix", mean_adjustment="channel", **change):
    with torch.inference_mode():
        return nodes["ChannelMeanInterpolate"].execute(latents, weights, method, mean_adjustment, **change).args
