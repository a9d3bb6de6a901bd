"""Sparsity on small models of ComfyUI's own classes."""
import pytest
import torch
from small_models import MODELS
from stopping import Calls, untouched


def inputs(model, name="SD1.5", count=4, **changes):
    channels = 4 if name == "SD1.5" else 16
    samples = torch.randn(count, channels, *MODELS[name].size, generator=torch.Generator().manual_seed(5))
    return {**dict(model=model, positive=MODELS[name].conditioning(1), latents={"samples": samples}, levels="0.5, 1",
                   draws=2, seed=0, resume=False), **changes}


@pytest.mark.parametrize("name", ["SD1.5", "SD3", "Z-Image"])
def test_blocks_are_those_of_channel_means(bridge, built, folders, name):
    from mental_averages.dma.representation import participation
    from mental_averages.nodes.representation import ChannelMeans, Sparsity

    model, given = built(name), inputs(built(name), name)
    with torch.inference_mode():
        curve, table, report = Sparsity.execute(**given).args
        layer = bridge.layer_names(model)[-1]
        alone = ChannelMeans.execute(model, given["positive"], given["latents"], "0.5, 1", 2, layer, "mean", 0, 0,
                                     False).args[0]
    assert [block.name for block in report.blocks] == bridge.layer_names(model)
    torch.testing.assert_close(torch.tensor(report.blocks[-1].participation),
                               participation(alone.means).mean(0).float(), rtol=1e-3, atol=1e-4)
    assert report.blocks[0].specialised == [None, None], "four pictures are too few"
    assert curve.shape[0] == 1 and curve.shape[-1] == 3 and layer in table
    assert report.settings["pictures"] == 4 and len(report.settings["sigmas"]) == 2


def test_one_pass_reads_all_layers(built, folders):
    from mental_averages.nodes.representation import Sparsity

    calls = Calls(built("SD1.5"))
    with torch.inference_mode():
        count, found = calls.during(Sparsity.execute, **inputs(calls.model, count=30, batch_size=60))
        few = Sparsity.execute(**inputs(built("SD1.5"), layers="middle_block, output_blocks")).args[2]
    # Two of the fingerprint, and one at each of two levels.
    assert count == 4 and all(block.specialised[0] is not None for block in found.args[2].blocks)
    assert [block.name for block in few.blocks] == ["middle_block", *(f"output_blocks.{index}" for index in range(4))]


@pytest.mark.parametrize("changes, message", [
    (dict(count=1), "holds 1 latent.*connect two or more"),
    (dict(layers="nonsense"), "No layer of this model fits 'nonsense'"),
    (dict(levels="-1"), "not shares of sampling"),
])
def test_bad_input_is_refused_before_work_starts(built, folders, changes, message):
    from mental_averages.nodes.representation import Sparsity

    with torch.inference_mode(), pytest.raises(ValueError, match=message):
        Sparsity.execute(**inputs(untouched(built("SD1.5")), **changes))
