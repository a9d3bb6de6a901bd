"""ChannelMeanInterpolate: as ComfyUI calls it, on noise."""
import inspect
import math

import pytest
import torch
from mixtures import mix, noise

from mental_averages.dma import interpolation
from mental_averages.dma.interpolation import InterpolationReport


def test_schemas_are_whole(nodes):
    for node in nodes.values():
        schema = node.GET_SCHEMA()
        assert list(inspect.signature(node.execute).parameters) == [item.id for item in schema.inputs]
        nested = [inner for item in schema.inputs if hasattr(item, "get_all") for inner in item.get_all()]
        assert (all(item.tooltip for item in (*schema.inputs, *nested, *schema.outputs))
                and schema.description.endswith("."))
    schema = nodes["ChannelMeanInterpolate"].GET_SCHEMA()
    assert [item.id for item in schema.inputs] == ["latents", "weights", "method", "mean_adjustment", "low_pass_width"]
    defaults = {item.id: item.default for item in schema.inputs[1:]}
    assert (defaults["weights"], defaults["method"], defaults["mean_adjustment"]) == ("", "fix", "channel")


def test_several_inputs_and_batches_are_joined_in_order(nodes):
    first, second = noise(2), noise(1, seed=1)
    kept = first["samples"].clone()
    latent, report = mix(nodes, {"latents0": first, "latents1": second, "latents2": None}, "1 0 0\n0 0.5 0.5\n0 0 1",
                         "restored_variance")
    together = torch.cat([first["samples"], second["samples"]])
    assert latent["samples"].shape == (3, 4, 8, 8) and latent["samples"].dtype == torch.float32
    assert torch.equal(latent["samples"][[0, 2]], together[[0, 2]]) and torch.equal(first["samples"], kept)
    assert report.weights[1] == [0.0, 0.5, 0.5] and report.settings["method"] == "restored_variance"
    assert InterpolationReport.from_json(report.to_json()) == report


def test_without_weights_the_paper_s_centroid_comes_out(nodes):
    latent, report = mix(nodes, {"latents0": noise(5)})
    expected = interpolation.interpolate(noise(5)["samples"], method="fix", mean_adjustment="channel").latents
    assert torch.equal(latent["samples"], expected) and list(latent) == ["samples"]
    assert report.effective_inputs == pytest.approx([5]) and report.settings["low_pass_width"] is None


def test_the_low_pass_width_reaches_the_library(nodes):
    latents = {"latents0": noise(3)}
    narrow, report = mix(nodes, latents, mean_adjustment="low_pass", low_pass_width=1.0)
    expected = interpolation.interpolate(noise(3)["samples"], method="fix", mean_adjustment="low_pass",
                                         low_pass_width=1.0).latents
    assert torch.equal(narrow["samples"], expected) and report.settings["low_pass_width"] == 1.0
    channel, report = mix(nodes, latents, low_pass_width=1.0)
    assert (torch.equal(channel["samples"], mix(nodes, latents)[0]["samples"])
            and report.settings["low_pass_width"] is None)


def test_bad_latents(nodes):
    from comfy.nested_tensor import NestedTensor

    bad = [({"samples": torch.zeros(1, 4, 3, 8, 8)}, "latents1 is a video"),
           ({"samples": NestedTensor([torch.zeros(1, 4, 8, 8)] * 2)}, "latents1 is a video"),
           ({"samples": torch.zeros(0, 4, 8, 8)}, "latents1 is an empty batch"),
           ({**noise(1), "noise_mask": torch.ones(1, 8, 8)}, "inpainting mask"),
           ({"samples": torch.full((1, 4, 8, 8), math.nan)}, "latents1 contains NaN"),
           (noise(1, shape=(4, 8, 16)), "16 x 8 pixels, but latents0 of"),
           (noise(1, shape=(16, 8, 8)), "16 channels")]
    for latent, message in bad:
        with pytest.raises(ValueError, match=message):
            mix(nodes, {"latents0": noise(2), "latents1": latent})
        if "latents1 " in message:
            with pytest.raises(ValueError, match=message):
                nodes["LatentStatistics"].execute({"latents1": latent})
            with pytest.raises(ValueError, match=message.replace("latents1", "latent")):
                nodes["LatentOffset"].execute(latent, "0.1")
    for latents in ({}, {"latents0": None}):
        with pytest.raises(ValueError, match="No latents are connected"):
            mix(nodes, latents)


def test_bad_settings(nodes):
    latents = {"latents0": noise(3)}
    for weights, message in (("1 0", "2 numbers, but there are 3"), ("1 0 -1", "negative"), ("0 0 0", "all zero"),
                             ("nan 1 0", "NaN"), ("a b c", "not a row of numbers")):
        with pytest.raises(ValueError, match=message):
            mix(nodes, latents, weights)
    with pytest.raises(ValueError, match="slerp joins two"):
        mix(nodes, latents, method="slerp")
    with pytest.raises(ValueError, match="nothing is left to be scaled"):
        mix(nodes, {"latents0": {"samples": torch.zeros(2, 4, 8, 8)}})
    with pytest.raises(ValueError, match="all zero"):
        nodes["LatentStatistics"].execute({"latents0": {"samples": torch.zeros(2, 4, 8, 8)}})
    for offsets, message in (("", "no offsets"), ("0.1 x", "not a row of numbers"), ("nan", "not finite")):
        with pytest.raises(ValueError, match=message):
            nodes["LatentOffset"].execute(noise(1), offsets)
    with pytest.raises(ValueError, match="channels 0 to 3"):
        nodes["LatentOffset"].execute(noise(1), "0.1", 0, 4)
    for inputs, mode in ((5, {"mode": "grid", "size": 4}), (1, {"mode": "path", "steps": 4, "closed": False})):
        with pytest.raises(ValueError, match="inputs"):
            nodes["MixingWeights"].execute(inputs, mode)
