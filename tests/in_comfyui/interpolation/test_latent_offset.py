"""LatentOffset."""
import torch
from mixtures import noise


def test_offsets(nodes):
    latents = {**noise(2), "batch_index": [0, 1], "type": "kept"}
    before = latents["samples"].clone()
    moved = nodes["LatentOffset"].execute(latents, "0, 0.4").args[0]
    assert moved["samples"].shape == (4, 4, 8, 8) and set(moved) == {"samples", "type"}
    assert torch.equal(moved["samples"][[0, 2]], before) and torch.equal(latents["samples"], before)
    difference = moved["samples"][1] - before[0]
    torch.testing.assert_close(difference[:2, :2], torch.tensor([-0.4, 0.4])[:, None, None].expand(2, 2, 8), rtol=0,
                               atol=1e-6)
    assert not difference[:, 2:].any()
