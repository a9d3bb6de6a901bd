"""MixingWeights."""
import pytest
import torch
from mixtures import mix, noise


@pytest.mark.parametrize("inputs, mode, rows", [
    (3, {"mode": "path", "steps": 4, "closed": False}, 9), (3, {"mode": "path", "steps": 4, "closed": True}, 12),
    (3, {"mode": "grid", "size": 4}, 10), (4, {"mode": "grid", "size": 4}, 16),
    (5, {"mode": "random", "rows": 6, "seed": 2**64 - 1}, 6),
])
def test_rows_of_weights_drive_an_interpolation(nodes, inputs, mode, rows):
    text = nodes["MixingWeights"].execute(inputs, mode).args[0]
    assert nodes["MixingWeights"].execute(99, mode, batch=noise(inputs)).args[0] == text
    latents = {f"latents{index}": noise(1, seed=index) for index in range(inputs)}
    latent, report = mix(nodes, latents, text, "nin")
    assert latent["samples"].shape[0] == rows == len(report.weights)
    if mode["mode"] != "random":
        torch.testing.assert_close(latent["samples"][0], latents["latents0"]["samples"][0])
