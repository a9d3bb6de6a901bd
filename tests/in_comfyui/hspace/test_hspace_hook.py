"""HSpaceHook refuses models and layers that features cannot be read at."""
import pytest
import torch


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
