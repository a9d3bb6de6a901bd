"""The Denoiser of a ComfyUI MODEL against finite differences and core's own samplers."""
import pytest
import torch

import pack

LEVELS = torch.tensor([5.0, 0.0])


def gradient_and_difference(cm, model, positive, negative, dtype, epsilon, layer="auto", pooling="none", branch="conditional"):
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

    cm.with_denoiser(model, positive, negative, 3.0, LEVELS, (4, 8, 8), 0, measure, layer, pooling, branch)
    return found["by_gradient"], found["by_difference"]


@pytest.mark.parametrize("branch", ["conditional", "unconditional", "guided"])
@pytest.mark.parametrize("layer, pooling", [("auto", "none"), ("auto", "mean"), ("input_blocks.1", "none"), ("output_blocks.1", "none")])
def test_gradient_in_double_precision(cm, tiny_model, layer, pooling, branch):
    generator = torch.Generator().manual_seed(1)
    with torch.inference_mode():
        positive, negative = ([[torch.randn(1, 7, 16, generator=generator, dtype=torch.float64), {}]] for _ in range(2))
    by_gradient, by_difference = gradient_and_difference(cm, tiny_model, positive, negative, torch.float64, 1e-4, layer, pooling, branch)
    assert by_gradient == pytest.approx(by_difference, rel=1e-6)


def test_gradient_of_the_demo_model_in_single_precision(cm, demo, prompts):
    by_gradient, by_difference = gradient_and_difference(cm, demo[0], *prompts, torch.float32, 0.02)
    assert by_gradient == pytest.approx(by_difference, rel=2e-3)


def test_weights_are_inference_tensors_and_are_put_back(cm, demo, prompts):
    network = demo[0].model.diffusion_model
    before = dict(network.named_parameters())
    assert any(parameter.is_inference() for parameter in before.values()), "the point of this test is gone"
    addresses = {name: parameter.data_ptr() for name, parameter in before.items()}
    gradient_and_difference(cm, demo[0], *prompts, torch.float32, 0.02)
    for name, parameter in network.named_parameters():
        assert parameter is before[name] and parameter.data_ptr() == addresses[name]
    assert not any(module._forward_hooks for module in network.modules())


def test_plain_sampling_equals_core_ddim(demo, prompts, empty_latent):
    """With no aligned steps the node is a KSampler: same noise from the same seed, same prediction, same steps."""
    from mental_averages.nodes.align import AlignTrajectories
    from mental_averages.nodes.hspace import HSpaceHook
    import nodes

    with torch.inference_mode():
        batch = {"samples": torch.zeros(3, 4, 8, 8)}
        (core,) = nodes.common_ksampler(demo[0], 11, 10, 4.0, "ddim", "normal", *prompts, batch)
        hspace = HSpaceHook.execute(demo[0], "auto", "none").args[0]
        ours = AlignTrajectories.execute(hspace, *prompts, empty_latent, 3, 10, 0, 5, 0.02, 4.0, "normal", 11, 3, resume=False).args[0]
    torch.testing.assert_close(ours["samples"], core["samples"], rtol=1e-4, atol=1e-4)


def ksampler(model, prompts):
    import nodes

    with torch.inference_mode():
        return nodes.common_ksampler(model, 5, 3, 4.0, "euler", "normal", *prompts, {"samples": torch.zeros(1, 4, 8, 8)})[0]["samples"]


@pytest.mark.parametrize("end", ["finished", "error", "interrupt"])
def test_model_is_bit_identical_for_others_afterwards(cm, demo, prompts, end):
    import comfy.model_management

    before = ksampler(demo[0], prompts)

    def function(denoiser):
        x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(denoiser.features(x, 5.0).sum(), x)
        if end == "error":
            raise RuntimeError("something else went wrong")
        if end == "interrupt":
            comfy.model_management.interrupt_current_processing()
        return denoiser.denoise(x.detach(), 5.0)

    arguments = (demo[0], *prompts, 4.0, LEVELS, (4, 8, 8), 0, function)
    if end == "finished":
        cm.with_denoiser(*arguments)
    else:
        with pytest.raises(RuntimeError if end == "error" else comfy.model_management.InterruptProcessingException):
            cm.with_denoiser(*arguments)
    after = ksampler(demo[0], prompts)
    assert torch.equal(before, after)
    assert not torch.is_inference_mode_enabled()


def test_rows_are_independent_and_features_match_the_whole_forward_pass(cm, demo, prompts):
    """Early exit changes nothing: the same features as a hook sees in an ordinary prediction."""
    found = {}

    def function(denoiser):
        x = 3 * torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(0))
        together = denoiser.features(x, 3.0)
        alone = torch.cat([denoiser.features(row[None], 3.0) for row in x])
        seen = []
        hook = demo[0].model.diffusion_model.middle_block[-1].register_forward_hook(lambda module, inputs, output: seen.append(output))
        denoiser.denoise(x, 3.0)
        hook.remove()
        found.update(together=together, alone=alone, seen=torch.cat(seen))
        return x[:1]

    cm.with_denoiser(demo[0], *prompts, 4.0, LEVELS, (4, 8, 8), 0, function)
    torch.testing.assert_close(found["alone"], found["together"], rtol=1e-4, atol=1e-4)
    distances = (found["seen"].flatten(1)[:, None] - found["together"].flatten(1)[None]).norm(dim=2)
    assert distances.min(dim=0).values.max() < 1e-3 * found["together"].norm()


def test_prompt_scheduling_is_honoured_and_an_empty_range_is_explained(cm, demo):
    early = pack.encode_prompt(demo[1], "cat")
    late = [[early[0][0], {**early[0][1], "start_percent": 0.9, "end_percent": 1.0}]]
    with pytest.raises(ValueError, match="active at noise level"):
        cm.with_denoiser(demo[0], late, early, 4.0, LEVELS, (4, 8, 8), 0, lambda denoiser: denoiser.features(torch.zeros(1, 4, 8, 8), 14.0))


def test_names_of_layers(cm, demo, tiny_model):
    assert cm.resolve_layer(tiny_model, "auto") == "middle_block"
    assert cm.layer_names(tiny_model) == [*(f"input_blocks.{i}" for i in range(4)), "middle_block", *(f"output_blocks.{i}" for i in range(4))]
    with pytest.raises(ValueError, match="no layer 'output_blocks.9'.*middle_block"):
        cm.resolve_layer(tiny_model, "output_blocks.9")
