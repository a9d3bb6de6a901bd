"""The reading of all layers at once, on small models of ComfyUI's own classes."""
import pytest
import torch
from small_models import MODELS

LEVELS = {"SD1.5": 5.0, "SD3": 0.7, "Flux": 0.7, "Z-Image": 0.7}


def on_denoiser(bridge, model, name, function, positive=None, **options):
    small = MODELS[name]
    shape = (model.model.latent_format.latent_channels, *small.size)
    x = LEVELS[name] * torch.randn((3, *shape), generator=torch.Generator().manual_seed(0))
    return bridge.with_denoiser(model, positive or small.conditioning(1), small.conditioning(2), 3.0,
                            torch.tensor([LEVELS[name], 0.0]), shape, 0,
                            lambda denoiser: function(denoiser, x, LEVELS[name]), **options)


@pytest.mark.parametrize("branch, pooling", [("conditional", "none"), ("guided", "mean"), ("conditional", "2x2")])
@pytest.mark.parametrize("name", list(LEVELS))
def test_all_features_are_those_of_each_layer_alone(bridge, built, name, branch, pooling):
    """Also where later blocks work in place on what earlier ones returned (Flux), and with rows of text and padding."""
    model = built(name)
    names = bridge.layer_names(model)

    def both(denoiser, x, sigma):
        together, one_by_one = denoiser.all_features(x, sigma, names), {}
        with torch.no_grad():
            for layer in names:
                one_by_one[layer] = denoiser.at(layer).features(x, sigma)
        return together, one_by_one, denoiser.layer

    together, one_by_one, layer = on_denoiser(bridge, model, name, both, branch=branch, pooling=pooling)
    assert list(together) == names
    assert layer == bridge.resolve_layer(model, "auto"), "at() leaves the Denoiser as it was"
    for key in names:
        assert torch.equal(together[key], one_by_one[key]) and not together[key].requires_grad
    assert not any(module._forward_hooks for module in model.model.diffusion_model.modules())


def test_all_features_of_several_entries_end_early_and_keep_what_is_asked_for(bridge, built):
    model, small = built("SD1.5"), MODELS["SD1.5"]
    several = [small.conditioning(1)[0], [small.conditioning(3)[0][0], {"strength": 0.5}]]
    ran = []
    hooks = [module.register_forward_hook(lambda module, inputs, output, name=name: ran.append(name))
             for name, module in (("middle", model.model.diffusion_model.middle_block[-1]),
                                  ("last", model.model.diffusion_model.out[-1]))]

    def read(denoiser, x, sigma):
        found = denoiser.all_features(x, sigma, ["input_blocks.1", "middle_block"],
                                      lambda layer, features: 2 * features.flatten(1)[:, :5])
        with torch.no_grad():
            return found, denoiser.features(x, sigma)

    try:
        found, expected = on_denoiser(bridge, model, "SD1.5", read, several)
    finally:
        for hook in hooks:
            hook.remove()
    torch.testing.assert_close(found["middle_block"], 2 * expected.flatten(1)[:, :5])
    assert found["input_blocks.1"].shape == (3, 5) and "last" not in ran and "middle" in ran


def test_gradient_at_another_layer_is_that_of_a_denoiser_made_for_it(bridge, built):
    def gradient(layer):
        def function(denoiser, x, sigma):
            leaf = x.clone().requires_grad_()
            with torch.enable_grad():
                return torch.autograd.grad(denoiser.at("joint_blocks.0").features(leaf, sigma).square().sum(), leaf)[0]

        return on_denoiser(bridge, built("SD3"), "SD3", function, layer=layer)

    assert torch.equal(gradient("joint_blocks.0"), gradient("joint_blocks.1"))
