import sys
from pathlib import Path

import pytest
import torch

import pack

# For small_models and core_predictions, which tests import by name.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def prompts(demo):
    """(positive, negative) CONDITIONING of the demo model."""
    _, clip, _ = demo
    return pack.encode_prompt(clip, "red heart"), pack.encode_prompt(clip, "")


@pytest.fixture
def empty_latent():
    return {"samples": torch.zeros(1, 4, 8, 8)}


@pytest.fixture
def folders(comfyui, tmp_path, monkeypatch):
    """ComfyUI's output, input and user folders in a temporary place."""
    import folder_paths

    for kind in ("output", "input", "user"):
        (tmp_path / kind).mkdir()
        monkeypatch.setattr(folder_paths, f"{kind}_directory" if kind != "user" else "user_directory",
                            str(tmp_path / kind))
    return tmp_path


@pytest.fixture(scope="session")
def tiny_model(comfyui):
    """A randomly initialised 32-channel SD1.5-like MODEL in double precision, made under inference mode."""
    import comfy.model_base
    import comfy.model_patcher
    import comfy.supported_models

    config = comfy.supported_models.SD15(dict(
        image_size=32, in_channels=4, out_channels=4, model_channels=32, num_res_blocks=[1, 1], channel_mult=[1, 2],
        transformer_depth=[0, 1], transformer_depth_output=[0, 0, 1, 1], transformer_depth_middle=1, context_dim=16,
        use_spatial_transformer=True, use_linear_in_transformer=False, num_heads=4, num_head_channels=-1, legacy=False,
        use_temporal_attention=False, adm_in_channels=None, dtype=torch.float64))
    with torch.inference_mode():
        torch.manual_seed(0)
        model = comfy.model_base.BaseModel(config)
        for parameter in model.diffusion_model.parameters():
            parameter.copy_(torch.randn_like(parameter) * (0.3 if parameter.ndim == 1
                                                           else parameter[0].numel() ** -0.5))
    device = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(model, load_device=device, offload_device=device)


@pytest.fixture(scope="session")
def cm(comfyui):
    from mental_averages.nodes import comfy_model

    return comfy_model


@pytest.fixture(scope="module")
def built(comfyui):
    """Each small MODEL in single precision, built once."""
    from small_models import MODELS

    kept = {}
    return lambda name: kept.setdefault(name, MODELS[name].build())


@pytest.fixture(scope="module")
def unet(comfyui):
    from small_models import MODELS

    return MODELS["SD1.5"].build()


@pytest.fixture
def stop_training(comfyui, monkeypatch):
    """Stops the next training in its fifth step, once, by an interrupt or an error.

    Returns the list of steps that are begun from then on, and the exception to expect.
    """
    import comfy.model_management

    from mental_averages.dma import training
    from mental_averages.nodes.training import _train_mode_embedding, _train_mode_lora

    draw, steps = training.draw, []

    def stop(end):
        def draw_then_stop(settings, step, *rest):
            steps.append(step)
            if step == 4 and len(steps) == 5:
                if end == "error":
                    raise RuntimeError("something else went wrong")
                comfy.model_management.interrupt_current_processing()
            return draw(settings, step, *rest)

        for module in (_train_mode_lora, _train_mode_embedding):
            monkeypatch.setattr(module, "draw", draw_then_stop)
        return steps, RuntimeError if end == "error" else comfy.model_management.InterruptProcessingException

    return stop
