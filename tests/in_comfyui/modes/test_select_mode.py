"""SelectMode, inside inference mode as ComfyUI runs it."""
import sys

import pytest
import torch

import pack

sys.path.insert(0, str(pack.ROOT / "tests" / "dma"))


@pytest.fixture
def three_modes(comfyui):
    from mental_averages.dma.clustering import ClusterSettings, cluster

    return cluster(torch.tensor([[0.0], [9.0], [0.1], [9.1], [0.2], [50.0], [50.1], [0.3]]), ClusterSettings(3, 3))


def test_members_of_a_mode(three_modes):
    from mental_averages.nodes.modes import SelectMode

    pictures = torch.arange(8.0)[:, None, None, None].expand(8, 4, 4, 3)
    selected, rest, every, count = SelectMode.execute(three_modes, pictures, 0).args
    assert sorted(selected[:, 0, 0, 0].tolist()) == [0, 2, 4, 7] and count == 4
    assert selected[:, 0, 0, 0].tolist() == list(three_modes.members[0])
    assert rest[:, 0, 0, 0].tolist() == [1, 3, 5, 6]
    assert [len(batch) for batch in every] == [4, 2, 2] and torch.equal(every[0], selected)
    latent = {"samples": pictures.permute(0, 3, 1, 2), "noise_mask": pictures[..., 0],
              "batch_index": list(range(10, 18)), "kind": "x"}
    selected, rest, _, _ = SelectMode.execute(three_modes, latent, 2).args
    chosen = list(three_modes.members[2])
    assert selected["samples"][:, 0, 0, 0].tolist() == selected["noise_mask"][:, 0, 0].tolist() == chosen
    assert (selected["batch_index"] == [10 + row for row in chosen] and selected["kind"] == "x"
            and len(rest["samples"]) == 6)
    assert len(latent["samples"]) == 8
    one_mask = {**latent, "noise_mask": torch.ones(1, 4, 4)}
    assert SelectMode.execute(three_modes, one_mask, 0).args[0]["noise_mask"].shape == (1, 4, 4)


@pytest.mark.parametrize("count", [2, 3, 8, 11])
def test_masks_that_are_fewer_or_more_than_latents_go_with_the_latents_a_sampler_gives_them_to(three_modes, count):
    from comfy.utils import repeat_to_batch_size

    from mental_averages.nodes.modes import SelectMode

    masks = torch.arange(float(count))[:, None, None, None].expand(count, 1, 4, 4)
    latent = {"samples": torch.zeros(8, 4, 4, 4), "noise_mask": masks, "batch_index": None}
    dealt = repeat_to_batch_size(masks, 8)
    for mode, members in enumerate(three_modes.members):
        selected = SelectMode.execute(three_modes, latent, mode).args[0]
        assert torch.equal(selected["noise_mask"], dealt[list(members)]) and selected["batch_index"] is None


def test_no_mask_is_no_mask(three_modes, bridge):
    from mental_averages.nodes.modes import SelectMode

    latent = {"samples": torch.zeros(8, 4, 4, 4), "noise_mask": None}
    assert SelectMode.execute(three_modes, latent, 0).args[0]["noise_mask"] is None
    assert bridge.image_latents(latent, "This latent") is latent["samples"]


def test_a_mode_without_others_blocks_what_follows(comfyui):
    from comfy_execution.graph_utils import ExecutionBlocker

    from mental_averages.dma.clustering import ClusterSettings, cluster
    from mental_averages.nodes.modes import SelectMode

    one = cluster(torch.tensor([[0.0], [1.0], [2.0]]), ClusterSettings(1, 1))
    selected, rest, every, count = SelectMode.execute(one, torch.zeros(3, 4, 4, 3), 0).args
    assert len(selected) == count == 3 and isinstance(rest, ExecutionBlocker) and len(every) == 1


def test_modes_that_do_not_fit(three_modes):
    from comfy.nested_tensor import NestedTensor

    from mental_averages.nodes.modes import SelectMode

    with pytest.raises(ValueError, match="of 8 pictures but this batch has 5"):
        SelectMode.execute(three_modes, torch.zeros(5, 4, 4, 3), 0)
    with pytest.raises(ValueError, match="no mode 3: these clusters have 3"):
        SelectMode.execute(three_modes, torch.zeros(8, 4, 4, 3), 3)
    with pytest.raises(ValueError, match="plain batches only"):
        SelectMode.execute(three_modes, {"samples": NestedTensor([torch.zeros(8, 4, 4, 4)] * 2)}, 0)
