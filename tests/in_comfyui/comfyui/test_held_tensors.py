"""Weights that other nodes' patches bring with them: found wherever they hang, and put back."""
import functools

import pytest
import torch
from alignments import align, steps_of_ksampler
from inversions import method
from model_files import random_hypernetwork, random_lora

from mental_averages.dma.models import check_gradient


def with_hypernetwork(model, folder):
    """By core's own loader, under inference mode as a node runs it."""
    from comfy_extras.nodes_hypernetwork import load_hypernetwork_patch

    torch.save(random_hypernetwork(16, 64), folder / "hypernetwork.pt")
    with torch.inference_mode():
        patch = load_hypernetwork_patch(str(folder / "hypernetwork.pt"), 0.8)
        model = model.clone()
        model.set_model_attn1_patch(patch)
        model.set_model_attn2_patch(patch)
    return model


def with_bypass(model, folder):
    """A LoRA beside the layers, by core's own function of LoraLoaderBypass."""
    import comfy.sd

    from mental_averages.nodes import comfyui

    layers = comfyui.target_layers(model.model.diffusion_model, comfyui.ATTENTION)
    with torch.inference_mode():
        lora = random_lora({name: tuple(layer.weight.shape) for name, layer in layers.items()})
        return comfy.sd.load_bypass_lora_for_models(model, None, lora, 0.7, 0.0)[0]


class Scales:
    """A patch whose tensors hang in a tuple, a dict, a list and a partial's arguments."""

    def __init__(self):
        with torch.inference_mode():
            self.pairs = (torch.tensor([1.5]), {"more": [torch.tensor([0.9])]})
            self.scaled = functools.partial(torch.mul, torch.tensor([1.1]))

    def __call__(self, q, k, v, extra_options):
        return self.scaled(q * self.pairs[0]), k, v * self.pairs[1]["more"][0]


def with_scales(model, folder):
    model = model.clone()
    model.set_model_attn1_patch(Scales())
    return model


def with_closure(model, folder):
    with torch.inference_mode():
        factor = torch.tensor([1.2])
    model = model.clone()
    model.set_model_attn1_output_patch(lambda x, extra_options: x * factor)
    return model


PATCHES = pytest.mark.parametrize("patched", [with_hypernetwork, with_bypass, with_scales, with_closure],
                                  ids=lambda function: function.__name__)


SHORT = dict(count=2, keep=1, steps=3, aligned_steps=1, iterations=1)


@PATCHES
def test_patches_with_weights_of_their_own_are_aligned_with(small, tmp_path, patched):
    model, prompts = small
    other = patched(model, tmp_path)
    before = steps_of_ksampler(other, prompts)
    aligned = align(other, prompts, **SHORT)
    assert not torch.allclose(aligned, align(model, prompts, **SHORT), rtol=1e-2), "the patch does nothing"
    torch.testing.assert_close(align(other, prompts, save_memory=True, **SHORT), aligned, rtol=1e-4, atol=1e-4)
    assert torch.equal(steps_of_ksampler(other, prompts), before)


@PATCHES
def test_gradients_through_them_are_right(bridge, small, tmp_path, patched):
    model, prompts = small
    error = bridge.with_denoiser(patched(model, tmp_path), *prompts, 3.0, torch.tensor([5.0, 0.0]), (4, 8, 8), 0,
                                 lambda denoiser: check_gradient(denoiser, (4, 8, 8), 5.0))
    assert error < 1e-3


@PATCHES
def test_other_nodes_that_differentiate(small, tmp_path, patched):
    from mental_averages.nodes.inversion import DDIMInvert
    from mental_averages.nodes.training import TrainModeLoRA

    model, (positive, negative) = small
    other, latent = patched(model, tmp_path), {"samples": torch.randn(1, 4, 8, 8)}
    with torch.inference_mode():
        chosen = method("null_text", iterations=1)
        DDIMInvert.execute(other, positive, latent, 2, "normal", 3.0, chosen, negative, measure=False)
        TrainModeLoRA.execute(other, latent, positive, 1, 1e-3, 1, 0, resume=False, preview_interval=0)


def test_everything_is_put_back():
    from mental_averages.nodes.comfyui import normal_weights

    scales = Scales()
    first, second, third = scales.pairs[0], scales.pairs[1]["more"][0], scales.scaled.args[0]
    pair, options = scales.pairs, {"transformer_options": {"patches": {"attn1_patch": [scales, scales]}}}
    with torch.inference_mode(False), normal_weights([], options) as addresses:
        held = scales.pairs[0], scales.pairs[1]["more"][0], scales.scaled.args[0]
        assert not any(tensor.is_inference() for tensor in held)
        assert addresses == {tensor.data_ptr() for tensor in (first, second, third)}
    assert scales.pairs[0] is first and scales.pairs[1]["more"][0] is second and scales.scaled.args[0] is third
    assert scales.pairs == pair


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.bfloat16])
def test_weights_of_a_byte_are_not_copied(monkeypatch, dtype):
    """DLPack knew no float8 before PyTorch 2.10, and a copy of all weights takes memory that nobody has planned for."""
    from mental_averages.nodes.comfyui import normal_weights

    known = torch.from_dlpack

    def of_before(value):
        if value.dtype.is_floating_point and value.element_size() == 1:
            raise BufferError("float8 types are not supported by dlpack")
        return known(value)

    monkeypatch.setattr(torch, "from_dlpack", of_before)
    with torch.inference_mode():
        layer = torch.nn.Linear(4, 6, bias=False)
        layer.weight = torch.nn.Parameter(layer.weight.to(dtype).t(), requires_grad=False)
    before = layer.weight
    with torch.inference_mode(False), normal_weights([layer]) as addresses:
        found = layer.weight
        assert not found.is_inference() and found.dtype == dtype and found.stride() == before.stride()
        assert addresses == {before.data_ptr()} == {found.data_ptr()}
        assert torch.equal(found.float(), before.float())


def test_devices_that_dlpack_does_not_know():
    """Of the meta device torch says what it says of DirectML, and of MPS in older versions: a ValueError."""
    from mental_averages.nodes.comfyui import normal_weights

    with torch.inference_mode():
        layer = torch.nn.Linear(2, 2, device="meta")
    before = layer.weight
    with torch.inference_mode(False), normal_weights([layer]):
        assert not layer.weight.is_inference() and layer.weight is not before
    assert layer.weight is before
