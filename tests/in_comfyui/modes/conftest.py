"""Image encoders on disk, and pictures of three colours."""

import pytest
import torch
from embeddings import small_clip
from encoder_folders import write_blip, write_clip, write_dinov2
from loaded_encoders import encoders_in
from queued_graphs import SIZES, Given, Result
from small_models import MODELS


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("written")
    return {"clip": write_clip(root / "clip"), "blip": write_blip(root / "maker" / "blip"),
            "dinov2": write_dinov2(root / "dinov2")}


@pytest.fixture
def encoders(comfyui, written):
    """ComfyUI's folder of image encoders, with a CLIP, a BLIP-VQA one level down, and a DINOv2."""
    with encoders_in(written["clip"].parent) as root:
        yield root


@pytest.fixture(scope="module")
def images():
    """Three colours, 8 + 5 + 3 pictures with a little noise, and which is which."""
    truth = torch.tensor([0, 1, 0, 2, 0, 1, 0, 0, 1, 2, 0, 1, 0, 1, 2, 0])
    noise = torch.rand(16, 40, 40, 3, generator=torch.Generator().manual_seed(0))
    return 0.95 * torch.eye(3)[truth][:, None, None] + 0.05 * noise, truth


@pytest.fixture(scope="module")
def values(comfyui, tmp_path_factory):
    """Model, VAE, prompts, samples of three modes, their clusters, a CLIP, pictures, and overrides."""
    import comfy.sd
    from comfy.taesd.taesd import TAESD

    from mental_averages.dma.clustering import ClusterSettings, cluster

    kind = MODELS["SD1.5"]
    generator = torch.Generator().manual_seed(0)
    truth = torch.repeat_interleave(torch.arange(3), torch.tensor(SIZES))
    with torch.inference_mode():
        torch.manual_seed(0)
        # Core makes layers without weights, that is, of whatever is in the memory.
        weights = {name: 0.5 * torch.randn(value.shape) / value[0].numel() ** 0.5 if value.ndim else value
                   for name, value in TAESD(latent_channels=4).state_dict().items()}
        vae = comfy.sd.VAE(sd=weights)
        latents = (3 * torch.randn((3, 4, 8, 8), generator=generator)[truth]
                   + 0.1 * torch.randn((10, 4, 8, 8), generator=generator))
    clusters = cluster(latents.flatten(1).clone(), ClusterSettings(3, 3, dimensions=4))
    assert torch.equal(clusters.labels, truth)
    return (kind.build(), vae, kind.conditioning(1), kind.conditioning(2), {"samples": latents}, clusters,
            small_clip("SD1.5", tmp_path_factory.mktemp("none")), torch.rand(10, 64, 64, 3, generator=generator),
            "1: steps=3")


@pytest.fixture
def registered(values, folders, embeddings, monkeypatch):
    """ComfyUI with the nodes of this test's graphs."""
    import comfy_extras.nodes_images
    import comfy_extras.nodes_post_processing
    import comfy_extras.nodes_train
    import nodes

    from mental_averages.nodes import alignment, figures, hspace, modes, training

    classes = [alignment.AlignTrajectories, alignment.AlignMixtureModes, modes.AlignModes, figures.LabelledSheet,
               hspace.HSpaceHook, modes.SelectMode, training.TrainModeEmbedding, training.TrainModeLoRA,
               comfy_extras.nodes_images.ImageFromBatch, comfy_extras.nodes_post_processing.BatchImagesNode,
               comfy_extras.nodes_post_processing.BatchLatentsNode, comfy_extras.nodes_train.SaveLoRA]
    for node in classes:
        monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, node.GET_SCHEMA().node_id, node)
    monkeypatch.setattr(Given, "values", values)
    for name, node in (("Given", Given), ("Result", Result)):
        monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, name, node)
    return folders
