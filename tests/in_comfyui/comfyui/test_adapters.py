"""Adapters in the forward pass of a small network of every kind: against core's weight patches and finite
differences."""
import dataclasses

import pytest
import torch
from small_models import MODELS

from mental_averages.dma.training import new_adapters, parameters_of

ATTENTION_OF_SD15 = {"to_q", "to_k", "to_v", "to_out.0"}


@pytest.fixture(scope="module")
def ca(comfyui):
    from mental_averages.nodes.comfyui import _adapters

    return _adapters


def random_adapters(ca, network, target, rank=2, alpha=3.0, dtype=torch.float32):
    """Adapters whose effect is about as large as that of the layers themselves."""
    generator = torch.Generator().manual_seed(2)
    adapters = new_adapters(ca.target_layers(network, target), rank, alpha, seed=1)
    for adapter in adapters:
        adapter.down = adapter.down.detach().to(dtype).requires_grad_()
        adapter.up = (0.3 * torch.randn(adapter.up.shape, generator=generator)).to(dtype).requires_grad_()
    return adapters


def on_denoiser(model, name, function, dtype=torch.float32):
    """What `function(denoiser, network, x (3, C, H, W), sigma (3,))` returns for a small model."""
    from mental_averages.nodes import comfyui

    small, channels = MODELS[name], model.model.latent_format.latent_channels
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((3, channels, *small.size), generator=generator, dtype=torch.float64).to(dtype)
    sigma = torch.tensor([0.2, 0.5, 0.9], dtype=dtype)
    prompt = small.conditioning(0, dtype)
    return comfyui.with_denoiser(
        model, prompt, prompt, 1.0, torch.tensor([0.9, 0.0]), (channels, *small.size), 0,
        lambda denoiser: function(denoiser, denoiser.guider.inner_model.diffusion_model, x, sigma), layer=None)


@pytest.mark.parametrize("name", list(MODELS))
def test_hooks_equal_cores_weight_patches_in_every_architecture(ca, name):
    import comfy.sd

    model, kept = MODELS[name].build(), {}

    def predict(denoiser, network, x, sigma):
        with torch.no_grad():
            return denoiser.denoise_differentiably(x, sigma)

    def predict_with_adapters(denoiser, network, x, sigma):
        adapters = random_adapters(ca, network, ca.ALL)
        trained = [value.detach() for value in parameters_of(adapters)]
        kept.update(ca.lora_model([adapter.name for adapter in adapters], trained, 3.0))
        with ca.attached(network, adapters):
            return predict(denoiser, network, x, sigma)

    plain = on_denoiser(model, name, predict)
    adapted = on_denoiser(model, name, predict_with_adapters)
    with torch.inference_mode():
        patched, _ = comfy.sd.load_lora_for_models(model, None, kept, 1.0, 0.0)
    assert len(patched.patches) == len(kept) // 3, "core does not know all keys"
    expected = on_denoiser(patched, name, predict)
    assert (adapted - plain).norm() > 1e-3 * plain.norm(), "the adapters do nothing"
    torch.testing.assert_close(adapted, expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())
    with torch.inference_mode():
        patched.unpatch_model()
    assert torch.equal(on_denoiser(model, name, predict), plain)


def test_a_row_has_what_it_has_alone(ca):
    def compare(denoiser, network, x, sigma):
        with torch.no_grad():
            together = denoiser.denoise_differentiably(x, sigma)
            alone = [denoiser.denoise(x[row:row + 1], sigma[row].item()) for row in range(3)]
        torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)

    for name in ("SD1.5", "SD2.x", "SD3"):
        on_denoiser(MODELS[name].build(), name, compare)


def forwards(network):
    """What has been put in the place of modules' own `forward`."""
    return {name: vars(module).get("forward") for name, module in network.named_modules()}


@pytest.mark.parametrize("save_memory", [False, True])
@pytest.mark.parametrize("name", ["SD1.5", "SD2.x", "SD3", "Flux", "Lumina 2"])
def test_gradients_in_the_adapters_against_finite_differences(ca, name, save_memory):
    def measure(denoiser, network, x, sigma):
        adapters = random_adapters(ca, network, ca.ALL, dtype=torch.float64)
        parameters, before = parameters_of(adapters), forwards(network)

        def loss():
            return denoiser.denoise_differentiably(x, sigma).double().square().mean()

        with ca.attached(network, adapters, save_memory):
            with torch.enable_grad():
                gradients = torch.autograd.grad(loss(), parameters, allow_unused=True)
            found = [(parameter, gradient)
                     for parameter, gradient in zip(parameters, gradients) if gradient is not None]
            norm = sum(gradient.square().sum() for _, gradient in found).sqrt()
            values = []
            with torch.no_grad():
                for step in (1e-3, -2e-3):
                    for parameter, gradient in found:
                        parameter += step * gradient / norm
                    values.append(loss().item())
        assert len(found) > 0.8 * len(parameters)
        assert forwards(network) == before
        assert not any(module._forward_hooks for module in network.modules())
        return norm.item(), (values[0] - values[1]) / 2e-3

    by_gradient, by_difference = on_denoiser(MODELS[name].build(torch.float64), name, measure, torch.float64)
    # Core computes noise levels and predictions in single precision.
    assert by_gradient == pytest.approx(by_difference, rel=2e-3)


@pytest.mark.parametrize("name", ["SD1.5", "SD3", "Flux"])
def test_gradients_with_less_memory_are_the_same(ca, name):
    def gradients(denoiser, network, x, sigma, save_memory):
        adapters = random_adapters(ca, network, ca.ALL)
        with ca.attached(network, adapters, save_memory), torch.enable_grad():
            loss = denoiser.denoise_differentiably(x, sigma).square().mean()
            return torch.autograd.grad(loss, parameters_of(adapters), allow_unused=True)

    def compare(*arguments):
        for less, more in zip(gradients(*arguments, True), gradients(*arguments, False)):
            assert (less is None) == (more is None)
            if less is not None:
                torch.testing.assert_close(less, more, rtol=1e-5, atol=1e-7)

    on_denoiser(MODELS[name].build(), name, compare)


def test_targets(ca):
    for name, small in MODELS.items():
        network = small.build().model.diffusion_model
        targets = (ca.ATTENTION, ca.FEED_FORWARD, ca.ALL)
        attention, feed_forward, everything = (set(ca.target_layers(network, target)) for target in targets)
        assert attention and attention < feed_forward <= everything, name
        assert not any("embed" in layer or "time_in" in layer for layer in everything), name
    network = MODELS["SD1.5"].build().model.diffusion_model
    found = ca.target_layers(network, ca.ATTENTION)
    assert {layer.split(".attn1.")[-1].split(".attn2.")[-1] for layer in found} == ATTENTION_OF_SD15
    assert len(found) == 8 * sum(type(module).__name__ == "BasicTransformerBlock" for module in network.modules())


def test_start_changes_nothing_and_depends_on_the_seed_alone(ca):
    layers = ca.target_layers(MODELS["SD1.5"].build().model.diffusion_model, ca.ALL)
    first, again, other = (new_adapters(layers, 2, 1.0, seed=seed) for seed in (1, 1, 2))
    for one, same, another in zip(first, again, other):
        assert torch.equal(one.down, same.down) and not torch.equal(one.down, another.down)
        assert not one.up.any() and one.scale == 0.5 and one.down.dtype == torch.float32
        inputs = one.down[0].numel()
        assert one.down.abs().max() <= inputs**-0.5
        assert one.down.shape == (2, *one.layer.weight.shape[1:]) and one.up.shape[:2] == (one.layer.weight.shape[0], 2)


def test_rank_and_target_are_checked(ca):
    network = MODELS["SD1.5"].build().model.diffusion_model
    layers = ca.target_layers(network, ca.ATTENTION)
    ca.check_rank(layers, 16)
    with pytest.raises(ValueError, match="rank is 17, but the layer .*to_k allows 16 at most"):
        ca.check_rank(layers, 17)
    with pytest.raises(ValueError, match="rank is 0"):
        ca.check_rank(layers, 0)
    without = {"transformer_depth": [0, 0], "transformer_depth_output": [0, 0, 0, 0], "transformer_depth_middle": -1}
    config = dataclasses.replace(MODELS["SD1.5"], unet_config={**MODELS["SD1.5"].unet_config, **without})
    with pytest.raises(ValueError, match="No layer of this UNetModel matches the target 'attention'"):
        ca.target_layers(config.build().model.diffusion_model, ca.ATTENTION)
    with pytest.raises(ValueError, match="This model is a Linear"):
        ca.target_layers(torch.nn.Linear(2, 2), ca.ALL)
