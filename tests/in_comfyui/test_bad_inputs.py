"""Bad input gets a clear error before any work starts."""
import json

import pytest
import torch


@pytest.fixture
def parts(demo, prompts, empty_latent, folders):
    from mental_averages.nodes.hspace import HSpaceHook

    return dict(hspace=HSpaceHook.execute(demo[0], "auto", "none").args[0], positive=prompts[0], negative=prompts[1],
                latent_image=empty_latent, count=2, steps=4, aligned_steps=1, iterations=2, learning_rate=0.02, cfg=4.0,
                scheduler="normal", seed=0, keep=1)


def refuse(parts, message, **change):
    from mental_averages.nodes.alignment import AlignTrajectories

    with pytest.raises(ValueError, match=message), torch.inference_mode():
        AlignTrajectories.execute(**{**parts, **change})


def test_counts_and_steps(parts):
    refuse(parts, "count is 0", count=0)
    refuse(parts, "only 4 steps", aligned_steps=5)
    refuse(parts, "batch_size is -1", batch_size=-1)


def test_conditioning(parts):
    refuse(parts, "positive conditioning is empty", positive=[])
    refuse(parts, "negative conditioning is empty", negative=[])
    tensor, options = parts["positive"][0]
    refuse(parts, "holds 2 prompts in one batch", positive=[[torch.cat([tensor, tensor]), options]])
    refuse(parts, "carries an area", positive=[[tensor, {**options, "area": (8, 8, 0, 0)}]])
    refuse(parts, "carries a mask", positive=[[tensor, {**options, "mask": torch.ones(1, 8, 8)}]])
    refuse(parts, "carries a reference picture",
           negative=[[tensor, {**options, "reference_latents": [torch.zeros(1, 4, 8, 8)]}]])
    refuse(parts, "carries GLIGEN boxes", negative=[[tensor, {**options, "gligen": object()}]])
    refuse(parts, "carries a scheduled LoRA", positive=[[tensor, {**options, "hooks": object()}]])


def test_latents(parts):
    refuse(parts, "video, audio or combined", latent_image={"samples": torch.zeros(1, 4, 3, 8, 8)})
    refuse(parts, "video, audio or combined", latent_image={"samples": torch.zeros(1, 64, 100)})
    refuse(parts, "empty batch", latent_image={"samples": torch.zeros(0, 4, 8, 8)})
    refuse(parts, "inpainting mask",
           latent_image={"samples": torch.zeros(1, 4, 8, 8), "noise_mask": torch.ones(1, 8, 8)})
    refuse(parts, "16 channels", latent_image={"samples": torch.ones(1, 16, 8, 8)})
    from comfy.nested_tensor import NestedTensor

    refuse(parts, "video, audio or combined", latent_image={"samples": NestedTensor([torch.zeros(1, 4, 8, 8)] * 2)})


def test_layers_and_models(demo, tiny_model):
    from mental_averages.nodes.hspace import HSpaceHook

    with pytest.raises(ValueError, match="no layer 'input_blocks.11'"):
        HSpaceHook.execute(demo[0], "input_blocks.11", "none")
    network = tiny_model.model.diffusion_model
    weight = network.middle_block[0].out_layers[3].bias
    with torch.inference_mode():
        kept = weight[0].clone()
        weight[0] = float("nan")
        try:
            with pytest.raises(ValueError, match="NaN"):
                HSpaceHook.execute(tiny_model, "auto", "none")
        finally:
            weight[0] = kept
    HSpaceHook.execute(tiny_model, "auto", "none")


def test_inpainting_and_transformer_models(tiny_model, monkeypatch):
    from mental_averages.nodes.hspace import HSpaceHook

    monkeypatch.setattr(tiny_model.model.diffusion_model, "in_channels", 9)
    with pytest.raises(ValueError, match="inpainting"):
        HSpaceHook.execute(tiny_model, "auto", "none")
    other = tiny_model.clone()
    other.add_object_patch("diffusion_model", torch.nn.Linear(1, 1))
    with pytest.raises(ValueError, match="This model is a Linear"):
        HSpaceHook.execute(other, "auto", "none")


def test_noise_schedules_that_are_not_known(tiny_model):
    import comfy.model_sampling

    from mental_averages.nodes.hspace import HSpaceHook

    class HalfVariance(comfy.model_sampling.ModelSamplingContinuousEDM, comfy.model_sampling.EDM):
        pass

    other, schedule = tiny_model.clone(), HalfVariance(tiny_model.model.model_config)
    schedule.sigma_data = 0.5
    other.add_object_patch("model_sampling", schedule)
    with pytest.raises(ValueError, match="not supported"):
        HSpaceHook.execute(other, "auto", "none")

    class Unscaled(comfy.model_sampling.ModelSamplingDiscrete, comfy.model_sampling.IMG_TO_IMG):
        pass

    class NoFlow(comfy.model_sampling.ModelSamplingDiscreteFlow, comfy.model_sampling.IMG_TO_IMG_FLOW):
        pass

    class LouderFlow(comfy.model_sampling.ModelSamplingDiscreteFlow, comfy.model_sampling.CONST):
        def __init__(self, config):
            super().__init__(config)
            self.set_noise_scale(8.0)

    for law in (Unscaled, NoFlow, LouderFlow):
        other.add_object_patch("model_sampling", law(tiny_model.model.model_config))
        with pytest.raises(ValueError, match="not supported"):
            HSpaceHook.execute(other, "auto", "none")


def test_reports_from_elsewhere(folders):
    from mental_averages.nodes.figures import LoadReport

    with pytest.raises(ValueError, match="no file"):
        LoadReport.execute("missing.json")
    (folders / "input" / "other.json").write_text(json.dumps({"format": "something"}))
    with pytest.raises(ValueError, match="not a report"):
        LoadReport.execute("other.json")
    (folders / "input" / "picture.json").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(ValueError, match="not JSON"):
        LoadReport.execute("picture.json")
    (folders / "secret.json").write_text("{}")
    with pytest.raises(ValueError, match="no file"):
        LoadReport.execute("../secret.json")


def test_batches_of_images(comfyui):
    from mental_averages.dma.hspace import Features
    from mental_averages.nodes.baselines import AverageImages, AverageLatents, MedoidSelect
    from mental_averages.nodes.figures import LabelledSheet

    with pytest.raises(ValueError, match="empty batch"):
        AverageImages.execute(torch.zeros(0, 8, 8, 3))
    with pytest.raises(ValueError, match="NaN"):
        AverageLatents.execute({"samples": torch.full((1, 4, 8, 8), float("nan"))})
    with pytest.raises(ValueError, match="3 pictures but features of 2"):
        MedoidSelect.execute(torch.zeros(3, 8, 8, 3), Features(torch.zeros(2, 5), "middle_block", "none", 1.0))
    with pytest.raises(ValueError, match="no pictures"):
        LabelledSheet.execute({}, "", "", 64, 4)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "", "a/../../b"])
def test_files_stay_inside_the_output_folder(folders, name):
    from mental_averages.nodes import comfyui

    with pytest.raises(ValueError, match="inside ComfyUI's output folder"):
        comfyui.output_path(name, ".json")
