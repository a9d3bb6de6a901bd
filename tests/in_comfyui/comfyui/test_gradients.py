"""Gradients through a ComfyUI MODEL against finite differences, and what is left behind of them."""
import sys

import pytest
import torch
from alignments import align, steps_of_ksampler
from nvidia_attention import own_choice
from small_models import MODELS

LEVELS = torch.tensor([5.0, 0.0])


def gradient_and_difference(bridge, model, positive, negative, dtype, epsilon, layer="auto", pooling="none",
                            branch="conditional"):
    """Directional derivative of |H(x) - A|^2 by autograd and by central differences, along the gradient."""
    found = {}

    def measure(denoiser):
        generator = torch.Generator().manual_seed(0)
        x = 5 * torch.randn(2, 4, 8, 8, generator=generator, dtype=torch.float64).to(dtype)
        with torch.no_grad():
            target = 0.5 * denoiser.features(x.flip(0), 5.0)

        def loss(z):
            return (denoiser.features(z, 5.0) - target).square().sum()

        leaf = x.clone().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(loss(leaf), leaf)
        direction = gradient / gradient.norm()
        with torch.no_grad():
            difference = (loss(x + epsilon * direction) - loss(x - epsilon * direction)) / (2 * epsilon)
        found.update(by_gradient=(gradient * direction).sum().item(), by_difference=difference.item())
        return x[:1].float()

    bridge.with_denoiser(model, positive, negative, 3.0, LEVELS, (4, 8, 8), 0, measure, layer, pooling, branch)
    return found["by_gradient"], found["by_difference"]


@pytest.mark.parametrize("branch", ["conditional", "unconditional", "guided"])
@pytest.mark.parametrize("layer, pooling",
                         [("auto", "none"), ("auto", "mean"), ("auto", "2x2"), ("input_blocks.1", "none"),
                          ("input_blocks.1", "4x4"), ("output_blocks.1", "none")])
def test_gradient_in_double_precision(bridge, tiny_model, layer, pooling, branch):
    generator = torch.Generator().manual_seed(1)
    with torch.inference_mode():
        positive, negative = ([[torch.randn(1, 7, 16, generator=generator, dtype=torch.float64), {}]] for _ in range(2))
    by_gradient, by_difference = gradient_and_difference(bridge, tiny_model, positive, negative, torch.float64, 1e-4,
                                                         layer, pooling, branch)
    assert by_gradient == pytest.approx(by_difference, rel=1e-6)


def test_gradient_of_the_demo_model_in_single_precision(bridge, demo, prompts):
    by_gradient, by_difference = gradient_and_difference(bridge, demo[0], *prompts, torch.float32, 0.02)
    assert by_gradient == pytest.approx(by_difference, rel=2e-3)


def test_weights_are_inference_tensors_and_are_put_back(bridge, demo, prompts):
    network = demo[0].model.diffusion_model
    before = dict(network.named_parameters())
    assert any(parameter.is_inference() for parameter in before.values()), "the point of this test is gone"
    addresses = {name: parameter.data_ptr() for name, parameter in before.items()}
    gradient_and_difference(bridge, demo[0], *prompts, torch.float32, 0.02)
    for name, parameter in network.named_parameters():
        assert parameter is before[name] and parameter.data_ptr() == addresses[name]
    assert not any(module._forward_hooks for module in network.modules())


def test_gauss_newton_through_cores_choice_of_kernels(small, monkeypatch):
    """On NVIDIA core chooses kernels at every call, those without a second derivative first."""
    import comfy.ops

    change = dict(solver="Gauss-Newton", count=2, keep=1, steps=3, aligned_steps=1, iterations=1)
    expected = align(*small, **change)
    monkeypatch.setattr(comfy.ops, "scaled_dot_product_attention", own_choice)
    torch.testing.assert_close(align(*small, **change), expected, rtol=1e-3, atol=1e-3)


def test_networks_that_a_version_of_core_lacks_are_passed_over(bridge):
    from mental_averages.nodes.comfyui._gradients import WITHOUT_OVERRIDE, present_modules

    assert all(callable(module.optimized_attention) for module in WITHOUT_OVERRIDE)
    found = list(present_modules(["no_such.blocks", "pixart.blocks", "pixart.no_such"]))
    assert [module.__name__ for module in found] == ["comfy.ldm.pixart.blocks"]


@pytest.mark.parametrize("save_memory", [False, True])
@pytest.mark.parametrize("name, place", [("PixArt", "comfy.ldm.pixart.blocks"),
                                         ("HunyuanDiT", "comfy.ldm.hydit.attn_layers")])
def test_kernels_without_a_backward_pass_where_no_override_is_asked_for(bridge, name, place, save_memory, monkeypatch):
    """They would take part of the gradient away without a word."""
    from comfy.ldm.modules.attention import attention_pytorch

    calls, module = [], sys.modules[place]

    def kernel(*arguments, **options):
        calls.append(arguments)
        return attention_pytorch(*arguments, **options).detach()

    def measure(denoiser):
        x = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
        with torch.enable_grad():
            return torch.autograd.grad(denoiser.denoise_differentiably(x, torch.tensor([1.0])).square().sum(), x)[0]

    model, prompt = MODELS[name].build(), MODELS[name].conditioning(1)
    shape = (model.model.latent_format.latent_channels, *MODELS[name].size)
    given = model, prompt, prompt, 1.0, torch.tensor([1.0, 0.0]), shape, 0
    expected = bridge.with_denoiser(*given, measure, layer=None, save_memory=save_memory)
    monkeypatch.setattr(module, "optimized_attention", kernel)
    found = bridge.with_denoiser(*given, measure, layer=None, save_memory=save_memory)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    # Predictions keep it.
    assert module.optimized_attention is kernel and not calls
    bridge.with_denoiser(*given, lambda denoiser: denoiser.denoise(torch.ones(1, *shape), 1.0), layer=None)
    assert calls


class NoBackward(torch.autograd.Function):
    @staticmethod
    def forward(context, values):
        return values.clone()


def test_operators_without_a_backward_pass_end_in_a_sentence(small):
    from mental_averages.nodes.inversion import DDIMInvert
    from mental_averages.nodes.training import TrainModeLoRA

    model, (positive, negative) = small
    model, latent = model.clone(), {"samples": torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(8))}
    model.set_model_attn2_patch(lambda q, k, v, options: (NoBackward.apply(q), NoBackward.apply(k), v))
    with torch.inference_mode():
        with pytest.raises(ValueError,
                           match="cannot be differentiated, so no unconditional embeddings.*Connect the model without"):
            DDIMInvert.execute(model, positive, latent, 4, "normal", 3.0,
                               dict(method="null_text", iterations=2, learning_rate=0.01), negative)
        with pytest.raises(ValueError, match="cannot be differentiated, so no LoRA.*Connect the model without"):
            TrainModeLoRA.execute(model, latent, positive, 4, 1e-3, 1, 0, resume=False)


def test_an_interrupt_inside_the_backward_pass_of_block_checkpoints(bridge, small):
    import comfy.model_management

    model, prompts = small
    before, network = steps_of_ksampler(model, prompts), model.model.diffusion_model
    weights, seen = dict(network.named_parameters()), []

    def function(denoiser):
        x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
        with torch.enable_grad():
            features = denoiser.features(x, 5.0).sum()
            # Blocks are run again in the backward pass, from the last to the first.
            hook = network.input_blocks[1][0].register_forward_hook(lambda *arguments: seen.append(
                comfy.model_management.in_training))
            try:
                comfy.model_management.interrupt_current_processing()
                torch.autograd.grad(features, x)
            finally:
                hook.remove()

    with pytest.raises(comfy.model_management.InterruptProcessingException):
        bridge.with_denoiser(model, *prompts, 4.0, LEVELS, (4, 8, 8), 0, function, save_memory=True)
    assert seen == [], "the first block is not reached"
    assert comfy.model_management.in_training is False and not torch.is_inference_mode_enabled()
    assert all(parameter is weights[name] for name, parameter in network.named_parameters())
    assert not any(module._forward_hooks or "forward" in vars(module) for module in network.modules())
    assert torch.equal(steps_of_ksampler(model, prompts), before)
