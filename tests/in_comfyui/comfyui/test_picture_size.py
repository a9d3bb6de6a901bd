"""Which pictures a model was made for, by networks of full size without weights, and the warning of smaller ones."""
import logging

import pytest
import torch
from small_models import MODELS

# What ComfyUI's model_detection finds in these checkpoints.
UNET = dict(image_size=32, in_channels=4, out_channels=4, model_channels=320, use_spatial_transformer=True,
            use_temporal_attention=False, legacy=False, dtype=torch.float16)
SD15 = dict(UNET, num_res_blocks=[2, 2, 2, 2], transformer_depth=[1, 1, 1, 1, 1, 1, 0, 0], channel_mult=[1, 2, 4, 4],
            transformer_depth_middle=1, use_linear_in_transformer=False, context_dim=768, num_heads=8,
            transformer_depth_output=[1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0], adm_in_channels=None)
SD2 = dict(SD15, use_linear_in_transformer=True, context_dim=1024, num_heads=-1, num_head_channels=64)
SDXL = dict(UNET, num_res_blocks=[2, 2, 2], transformer_depth=[0, 0, 2, 2, 10, 10], channel_mult=[1, 2, 4],
            transformer_depth_middle=10, use_linear_in_transformer=True, context_dim=2048, num_head_channels=64,
            transformer_depth_output=[0, 0, 0, 2, 2, 2, 10, 10, 10], num_classes="sequential", adm_in_channels=2816)


def full_size(kind, config, prediction="EPS"):
    """A MODEL whose weights lie nowhere."""
    import comfy.model_base
    import comfy.model_patcher
    import comfy.supported_models

    config = getattr(comfy.supported_models, kind)(dict(config))
    model = comfy.model_base.BaseModel(config, comfy.model_base.ModelType[prediction], device=torch.device("meta"))
    return comfy.model_patcher.ModelPatcher(model, torch.device("cpu"), torch.device("cpu"))


@pytest.mark.parametrize("kind, config, prediction, side", [
    ("SD15", SD15, "EPS", 512), ("SD20", SD2, "EPS", 512), ("SD20", SD2, "V_PREDICTION", 768),
    ("SDXL", SDXL, "EPS", 1024)])
def test_models_of_full_size_are_known_and_warn_below_half(comfyui, caplog, kind, config, prediction, side):
    from mental_averages.nodes.comfyui import drawn_shape
    from mental_averages.nodes.comfyui._picture_size import picture_side

    model = full_size(kind, config, prediction)
    assert picture_side(model) == side
    with caplog.at_level(logging.WARNING):
        assert drawn_shape(model, {"samples": torch.zeros(1, 4, side // 16, side // 16)}, "Node") == (
            4, side // 16, side // 16)
        assert caplog.records == []
        drawn_shape(model, {"samples": torch.zeros(1, 4, 8, 16)}, "Node")
    message, = (record.getMessage() for record in caplog.records)
    assert message.startswith(f"Node: 128 x 64 gives blots: made for about {side} x {side}.")


@pytest.mark.parametrize("name", sorted(MODELS))
def test_of_small_networks_nothing_is_known(built, name):
    from mental_averages.nodes.comfyui._picture_size import picture_side

    assert picture_side(built(name)) is None


def test_the_demo_model_draws_at_its_own_size_without_a_warning(demo, empty_latent, caplog):
    from mental_averages.nodes.comfyui import drawn_shape

    with caplog.at_level(logging.WARNING):
        drawn_shape(demo[0], empty_latent, "Node")
    assert caplog.records == []
