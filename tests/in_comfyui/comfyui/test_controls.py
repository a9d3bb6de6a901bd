"""ControlNets, on the conditioning and in a model's blocks: their predictions are core's, and gradients go through
them."""
import pytest
import torch
from controls import controlled
from core_predictions import by_us, compare, noise, prompts
from small_models import MODELS


def test_controlnet(bridge, unet):
    positive, negative = prompts()
    plain = compare(bridge, unet, positive, negative)
    steered = controlled(positive)
    assert any(parameter.is_inference() for parameter in steered[0][1]["control"].control_model.parameters())
    assert not torch.allclose(compare(bridge, unet, steered, negative), plain)
    late = controlled(positive, timestep_percent_range=(0.9, 1.0))
    torch.testing.assert_close(compare(bridge, unet, late, negative), plain)


def test_control_lora(bridge, unet):
    """It makes a network of its own from the model's weights for one sampling, and lists none."""
    positive, negative = prompts()
    steered = controlled(positive, lora=True)
    assert steered[0][1]["control"].get_models() == []
    assert not torch.allclose(compare(bridge, unet, steered, negative), compare(bridge, unet, positive, negative))


class OneColour:
    """A VAE that knows a picture's mean brightness only."""

    def __init__(self, *frames):
        self.frames = frames

    def spacial_compression_encode(self):
        return 8

    def encode(self, pictures):
        return pictures.mean() * torch.ones(len(pictures), 16, *self.frames, pictures.shape[1] // 8,
                                            pictures.shape[2] // 8)


def block_patched(name, network, frames=(), pictures=(0.7,)):
    """A small MODEL with one of core's ControlNets of blocks, made under inference mode; and the patch."""
    import comfy.model_patcher
    from comfy_extras.nodes_model_patch import QwenImageDiffsynthControlnet

    model, cpu, generator = MODELS[name].build(), torch.device("cpu"), torch.Generator().manual_seed(6)
    with torch.inference_mode():
        control = network()
        for parameter in control.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator)
                            * (0.3 if parameter.ndim == 1 else parameter[0].numel() ** -0.5))
        patcher = comfy.model_patcher.ModelPatcher(control, load_device=cpu, offload_device=cpu)
        image = torch.tensor(pictures)[:, None, None, None].expand(-1, 48, 32, 3)
        patched = QwenImageDiffsynthControlnet().diffsynth_controlnet(model, patcher, OneColour(*frames), image, 0.8)[0]
    assert all(parameter.is_inference() for parameter in control.parameters())
    return model, patched, patched.model_options["transformer_options"]["patches"]["double_block"][0]


def test_control_nets_of_blocks(bridge):
    import comfy.ops
    from comfy_extras.nodes_model_patch import QwenImageBlockWiseControlNet

    shape = (16, *MODELS["Qwen-Image"].size)
    model, patched, patch = block_patched(
        "Qwen-Image", lambda: QwenImageBlockWiseControlNet(2, 64, 0, 32, operations=comfy.ops.manual_cast), (1,))
    before = dict(patch.model_patch.model.named_parameters())
    _, plain, _ = by_us(bridge, model, *prompts("Qwen-Image"), 4.0, 0.6, shape, "auto")
    _, features, error = by_us(bridge, patched, *prompts("Qwen-Image"), 4.0, 0.6, shape, "auto")
    assert not torch.allclose(features, plain) and error < 0.01
    assert all(parameter is before[key] for key, parameter in patch.model_patch.model.named_parameters())


def test_a_block_patch_does_not_remember_a_pass_that_ended_early(bridge):
    import comfy.ops
    from comfy.ldm.lumina.controlnet import ZImage_Control

    shape = (16, *MODELS["Z-Image"].size)
    model, patched, patch = block_patched("Z-Image", lambda: ZImage_Control(dim=256, n_heads=16, n_kv_heads=16,
                                                                            multiple_of=8, n_control_layers=30,
                                                                             operations=comfy.ops.manual_cast))

    def one_after_the_other(denoiser):
        for x in (noise(shape, 0.6)[:1], noise(shape, 0.6)[1:]):
            with torch.no_grad():
                found.append(denoiser.features(x, 0.6))
            assert patch.temp_data is None
        return x

    found = []
    arguments = (*prompts("Z-Image"), 1.0, torch.tensor([0.6, 0.0]), shape, 0)
    bridge.with_denoiser(patched, *arguments, one_after_the_other, "layers.1")
    _, together, error = by_us(bridge, patched, *prompts("Z-Image"), 1.0, 0.6, shape, "layers.1")
    torch.testing.assert_close(torch.cat(found), together, rtol=1e-4, atol=1e-5)
    _, plain, _ = by_us(bridge, model, *prompts("Z-Image"), 1.0, 0.6, shape, "layers.1")
    assert not torch.allclose(together, plain) and error < 0.01


def test_a_block_patch_with_several_pictures_is_refused(bridge):
    import comfy.ops
    from comfy_extras.nodes_model_patch import QwenImageBlockWiseControlNet

    shape = (16, *MODELS["Qwen-Image"].size)
    for pictures in ((0.7, 0.2), (0.7, 0.7)):
        _, patched, _ = block_patched("Qwen-Image", lambda: QwenImageBlockWiseControlNet(
            2, 64, 0, 32, operations=comfy.ops.manual_cast), (1,), pictures)
        with pytest.raises(ValueError, match="DiffSynthCnetPatch. holds 2 pictures.*connect one picture"):
            by_us(bridge, patched, *prompts("Qwen-Image"), 4.0, 0.6, shape, "auto")


def test_an_ip_adapter_that_unfolds_a_batch_is_refused(bridge):
    """As ComfyUI_IPAdapter_plus holds what it is given: a list of dicts at a patch of cross-attention."""
    class Patch:
        def __init__(self, **kwargs):
            self.kwargs = [kwargs]

        def __call__(self, q, k, v, extra_options):
            raise AssertionError("It was not refused.")

    def patched(**kwargs):
        model = MODELS["SD1.5"].build()
        model.set_model_attn2_replace(Patch(**kwargs), "middle", 0, 0)
        return model

    for refused, kwargs in ((True, dict(cond=torch.zeros(2, 4, 8), unfold_batch=True)),
                            (False, dict(cond=torch.zeros(1, 4, 8), unfold_batch=True)),
                            (False, dict(cond=torch.zeros(2, 4, 8), unfold_batch=False))):
        with pytest.raises(ValueError, match=("unfolds a batch of 2 pictures.*unfold_batch off" if refused
                                              else "It was not refused")):
            by_us(bridge, patched(**kwargs), *prompts(), 4.0, 5.0, (4, 6, 4), "auto")
