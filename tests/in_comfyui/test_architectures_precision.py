"""The matrix: architecture x parametrisation x precision x patched. Run with -s to see it as docs/architectures.md has it."""
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from small_models import MODELS  # noqa: E402

# The precision of the weights, and of the computation where ComfyUI casts them.
PRECISIONS = {"fp32": (torch.float32, None), "bf16": (torch.bfloat16, None), "fp16": (torch.float16, None),
              "fp8, computed in fp32": (torch.float8_e4m3fn, torch.float32)}
PATCHED = ("plain", "patched")


@pytest.fixture(scope="module")
def cells(comfyui):
    """The outcome of every cell that ran; the table is printed when the last one is done."""
    found = {}
    yield found
    columns = [(precision, patched) for precision in PRECISIONS for patched in PATCHED]
    print("\n\n| model | prediction | " + " | ".join(f"{precision}{' +' * (patched == 'patched')}" for precision, patched in columns) + " |")
    print("| --- " * (2 + len(columns)) + "|")
    for name, small in MODELS.items():
        print(f"| {name} | {small.parametrization} | " + " | ".join(found.get((name, *column), "not run") for column in columns) + " |")


def patch_weights(model):
    """A difference on every linear weight, as a LoRA makes it, and another noise schedule."""
    from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete, ModelSamplingSD3
    import comfy.model_sampling

    model, generator = model.clone(), torch.Generator().manual_seed(5)
    model.add_patches({f"diffusion_model.{key}": ("diff", (0.02 * torch.randn(weight.shape, generator=generator),))
                       for key, weight in model.model.diffusion_model.named_parameters() if weight.ndim == 2}, 1.0)
    if isinstance(model.get_model_object("model_sampling"), comfy.model_sampling.CONST):
        multiplier = getattr(model.get_model_object("model_sampling"), "multiplier", 1.0)
        return ModelSamplingSD3().patch(model, 5.0, multiplier)[0]
    return ModelSamplingDiscrete().patch(model, "v_prediction", False)[0]


@pytest.mark.parametrize("patched", PATCHED)
@pytest.mark.parametrize("precision", list(PRECISIONS))
@pytest.mark.parametrize("name", list(MODELS))
def test_matrix(cells, name, precision, patched):
    """The gradient self-test of the model in its own precision, and the very prediction of core's guider."""
    from mental_averages.dma.gradient_check import check_gradient
    from mental_averages.nodes import comfy_model
    from test_architectures_conditioning import by_core, noise

    small, (dtype, computed) = MODELS[name], PRECISIONS[precision]
    model = small.build(dtype, manual_cast=computed)
    if patched == "patched":
        model = patch_weights(model)
    sigma, shape, found = 0.6 if small.parametrization == "flow" else 5.0, (model.model.latent_format.latent_channels, *small.size), []
    positive, negative = small.conditioning(1), small.conditioning(2)

    def run(denoiser):
        found.append((check_gradient(denoiser, shape, sigma), denoiser.denoise(noise(shape, sigma), sigma)))
        return torch.zeros(1, *shape)

    comfy_model.with_denoiser(model, positive, negative, 3.0, torch.tensor([sigma, 0.0]), shape, 0, run)
    error, denoised = found[0]
    if model.model.latent_format.latent_dimensions == 2:
        assert torch.equal(denoised, by_core(model, positive, negative, 3.0, sigma, shape)[0])
    assert error < (1e-3 if computed is torch.float32 or dtype is torch.float32 else 0.05)
    cells[name, precision, patched] = f"passed ({error:.1g})"


def test_a_wrong_gradient_is_refused(comfyui):
    """A block that works in place, recomputed by PyTorch's own checkpoint: no error, and a gradient that is off by a tenth."""
    from torch.utils.checkpoint import checkpoint

    from mental_averages.dma.gradient_check import check_gradient
    from mental_averages.nodes import comfy_model

    small = MODELS["Flux"]
    model, shape = small.build(), (16, *small.size)
    block = model.model.diffusion_model.double_blocks[0]
    forward = block.forward
    block.forward = lambda **options: checkpoint(forward, use_reentrant=False, **options)
    with pytest.raises(ValueError, match="gradient of this model's features is wrong|cannot be differentiated"):
        comfy_model.with_denoiser(model, small.conditioning(1), small.conditioning(2), 1.0, torch.tensor([0.6, 0.0]), shape, 0,
                                  lambda denoiser: check_gradient(denoiser, shape, 0.6))


def test_an_operator_without_a_backward_pass_is_refused(comfyui):
    import contextlib

    from mental_averages.dma.gradient_check import check_gradient
    from mental_averages.nodes import comfy_model

    small = MODELS["Qwen-Image"]
    model, shape = small.build(), (16, *small.size)

    def run(denoiser):
        denoiser.recording = contextlib.nullcontext  # core's fast rotary embedding, which has no gradient
        return check_gradient(denoiser, shape, 0.6)

    with pytest.raises(ValueError, match="cannot be differentiated.*autograd"):
        comfy_model.with_denoiser(model, small.conditioning(1), small.conditioning(2), 1.0, torch.tensor([0.6, 0.0]), shape, 0, run)


def test_flags_of_comfyui_are_put_back(comfyui):
    import comfy.model_management
    from mental_averages.nodes import comfy_model

    small = MODELS["SD3"]
    model, seen = small.build(), []
    hook = model.model.diffusion_model.x_embedder.register_forward_hook(
        lambda *arguments: seen.append(comfy.model_management.in_training))

    def run(denoiser):
        denoiser.features(torch.randn(1, 16, 6, 4), 0.6)
        denoiser.denoise(torch.randn(1, 16, 6, 4), 0.6)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        comfy_model.with_denoiser(model, small.conditioning(1), small.conditioning(2), 1.0, torch.tensor([0.6, 0.0]), (16, 6, 4), 0, run)
    hook.remove()
    assert seen == [True, False] and comfy.model_management.in_training is False
