"""Fixtures of all tests that run inside ComfyUI's process."""
import pytest
import torch
from embeddings import small_clip, small_model

import pack


@pytest.fixture(scope="session")
def prompts(demo):
    """(positive, negative) CONDITIONING of the demo model."""
    _, clip, _ = demo
    return pack.encode_prompt(clip, "red heart"), pack.encode_prompt(clip, "")


@pytest.fixture
def empty_latent():
    return {"samples": torch.zeros(1, 4, 8, 8)}


@pytest.fixture
def samples():
    """Three latents, as samples of a prompt are."""
    return {"samples": torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))}


@pytest.fixture
def hspace(demo):
    from mental_averages.nodes.hspace import HSpaceHook

    return HSpaceHook.execute(demo[0], "auto", "none").args[0]


@pytest.fixture
def numbered(prompts):
    """The prompts with a range of the schedule that holds all of it, so that nothing but the numbers is new: numbers in
    a conditioning are part of the key under which nodes keep a state on disk."""
    import nodes

    def ranged(conditioning, start=0.0, end=1.0):
        return nodes.ConditioningSetTimestepRange().set_range(conditioning, start, end)[0]

    return ranged(prompts[0]), ranged(prompts[1])


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
def bridge(comfyui):
    """The room of the pack that alone knows ComfyUI's internals."""
    from mental_averages.nodes import comfyui as room

    return room


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


@pytest.fixture(scope="module")
def small(built):
    """(MODEL, (positive, negative)) of a small U-Net."""
    from small_models import MODELS

    return built("SD1.5"), (MODELS["SD1.5"].conditioning(1), MODELS["SD1.5"].conditioning(2))


@pytest.fixture
def embeddings(folders, monkeypatch):
    """ComfyUI's folder of embeddings, and its temporary folder, in a temporary place."""
    import folder_paths

    folder = folders / "embeddings"
    folder.mkdir()
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "embeddings",
                        ([str(folder)], {".safetensors", ".pt", ".bin"}))
    monkeypatch.setattr(folder_paths, "temp_directory", str(folders / "temp"))
    return folder


@pytest.fixture
def case(embeddings):
    """Inputs of the node that take little time, by the name of the kind of model."""
    def made(name):
        generator = torch.Generator().manual_seed(1)
        latents = 0.3 * torch.randn((1, 4, 1,
                                     1), generator=generator) + 0.05 * torch.randn((3, 4, 8, 8), generator=generator)
        return dict(model=small_model(name), clip=small_clip(name, embeddings), latents={"samples": latents / 0.18215},
                    name="mode", initial_text="castle", vectors=1, template="a photo of {}", steps=4,
                    learning_rate=1e-2, seed=5, preview_interval=0)

    return made
