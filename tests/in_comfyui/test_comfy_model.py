"""The Denoiser of a ComfyUI MODEL against finite differences and core's own samplers."""
import copy

import pytest
import torch

import pack

LEVELS = torch.tensor([5.0, 0.0])


def gradient_and_difference(cm, model, positive, negative, dtype, epsilon, layer="auto", pooling="none",
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

    cm.with_denoiser(model, positive, negative, 3.0, LEVELS, (4, 8, 8), 0, measure, layer, pooling, branch)
    return found["by_gradient"], found["by_difference"]


@pytest.mark.parametrize("branch", ["conditional", "unconditional", "guided"])
@pytest.mark.parametrize("layer, pooling",
                         [("auto", "none"), ("auto", "mean"), ("input_blocks.1", "none"), ("output_blocks.1", "none")])
def test_gradient_in_double_precision(cm, tiny_model, layer, pooling, branch):
    generator = torch.Generator().manual_seed(1)
    with torch.inference_mode():
        positive, negative = ([[torch.randn(1, 7, 16, generator=generator, dtype=torch.float64), {}]] for _ in range(2))
    by_gradient, by_difference = gradient_and_difference(cm, tiny_model, positive, negative, torch.float64, 1e-4, layer,
                                                         pooling, branch)
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
    import nodes

    from mental_averages.nodes.alignment import AlignTrajectories
    from mental_averages.nodes.hspace import HSpaceHook

    with torch.inference_mode():
        batch = {"samples": torch.zeros(3, 4, 8, 8)}
        (core,) = nodes.common_ksampler(demo[0], 11, 10, 4.0, "ddim", "normal", *prompts, batch)
        hspace = HSpaceHook.execute(demo[0], "auto", "none").args[0]
        ours = AlignTrajectories.execute(hspace, *prompts, empty_latent, 3, 10, 0, 5, 0.02, 4.0, "normal", 11, 3,
                                         resume=False).args[0]
    torch.testing.assert_close(ours["samples"], core["samples"], rtol=1e-4, atol=1e-4)


def ksampler(model, prompts):
    import nodes

    with torch.inference_mode():
        return nodes.common_ksampler(model, 5, 3, 4.0, "euler", "normal", *prompts,
                                     {"samples": torch.zeros(1, 4, 8, 8)})[0]["samples"]


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
        hook = demo[
            0].model.diffusion_model.middle_block[-1].register_forward_hook(lambda module, inputs, output: seen.append(
                output))
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
        cm.with_denoiser(demo[0], late, early, 4.0, LEVELS, (4, 8, 8), 0,
                         lambda denoiser: denoiser.features(torch.zeros(1, 4, 8, 8), 14.0))


def test_names_of_layers(cm, demo, tiny_model):
    assert cm.resolve_layer(tiny_model, "auto") == "middle_block"
    assert cm.layer_names(tiny_model) == [*(f"input_blocks.{i}" for i in range(4)), "middle_block",
                                          *(f"output_blocks.{i}" for i in range(4))]
    with pytest.raises(ValueError, match="no layer 'output_blocks.9'.*middle_block"):
        cm.resolve_layer(tiny_model, "output_blocks.9")


def with_easy_cache(model):
    from comfy_extras.nodes_easycache import EasyCacheNode

    return EasyCacheNode.execute(model, 3.0, 0.0, 1.0, False).args[0]


def with_lazy_cache(model):
    from comfy_extras.nodes_easycache import LazyCacheNode

    return LazyCacheNode.execute(model, 3.0, 0.0, 1.0, False).args[0]


def compiled(model):
    """As core's TorchCompileModel does it, with a copy of the network in the place of a compiled one, which takes half
    a minute."""
    from comfy.patcher_extension import WrappersMP
    from comfy_api.torch_helpers.torch_compile import COMPILE_KEY, apply_torch_compile_factory

    model = model.clone()
    with torch.inference_mode():
        network = copy.deepcopy(model.model.diffusion_model)
    model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, COMPILE_KEY,
                               apply_torch_compile_factory({"diffusion_model": network}))
    return model, network


@pytest.fixture(scope="module")
def small(built):
    from small_models import MODELS

    return built("SD1.5"), (MODELS["SD1.5"].conditioning(1), MODELS["SD1.5"].conditioning(2))


def align(model, prompts, **change):
    from mental_averages.nodes.alignment import AlignTrajectories
    from mental_averages.nodes.hspace import HSpaceHook

    arguments = dict(count=3, steps=6, aligned_steps=2, iterations=2, learning_rate=0.05, cfg=3.0, scheduler="normal",
                     seed=3, keep=3, batch_size=2, resume=False)
    with torch.inference_mode():
        hspace = HSpaceHook.execute(model, "auto", "none").args[0]
        return AlignTrajectories.execute(hspace, *prompts, {"samples": torch.zeros(1, 4, 8, 8)},
                                         **{**arguments, **change}).args[0]["samples"]


def ddim_select(model, prompts):
    """Our SAMPLER in the place of a KSampler's, inverting with several calls at each noise level."""
    import comfy.sample

    from mental_averages.dma.inversion import FixedPoint
    from mental_averages.nodes.comfyui import DeterministicSampler

    picture = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(7))
    sampler, sigmas = DeterministicSampler(FixedPoint(1e-6, 5, 2)), torch.linspace(0.5, 10, 6)
    with torch.inference_mode():
        return comfy.sample.sample_custom(model, torch.zeros_like(picture), 1.0, sampler, sigmas, *prompts, picture)


def steps_of_ksampler(model, prompts):
    import nodes

    with torch.inference_mode():
        latent = {"samples": torch.zeros(1, 4, 8, 8)}
        return nodes.common_ksampler(model, 5, 10, 4.0, "euler", "normal", *prompts, latent)[0]["samples"]


@pytest.mark.parametrize("cached", [with_easy_cache, with_lazy_cache])
def test_caches_of_core_do_not_act_on_our_calls_and_stay_on_the_model(small, cached):
    model, prompts = small
    other, plain = cached(model), steps_of_ksampler(model, prompts)
    before = steps_of_ksampler(other, prompts)
    assert not torch.allclose(before, plain, rtol=1e-2), "the cache skips nothing, so that there is nothing to test"
    assert torch.equal(align(other, prompts), align(model, prompts))
    assert torch.equal(ddim_select(other, prompts), ddim_select(model, prompts))
    assert (torch.equal(steps_of_ksampler(other, prompts), before)
            and torch.equal(steps_of_ksampler(model, prompts), plain))


def test_a_compiled_model_is_read_uncompiled_and_stays_compiled(small):
    model, prompts = small
    (other, network), calls = compiled(model), []
    network.register_forward_hook(lambda *arguments: calls.append("compiled"))
    assert torch.equal(align(other, prompts), align(model, prompts)) and not calls
    assert torch.equal(steps_of_ksampler(other, prompts), steps_of_ksampler(model, prompts)) and calls


def test_gauss_newton_and_block_checkpoints_do_not_go_together(small):
    model, prompts = small
    with pytest.raises(ValueError, match="turn save_memory off, or choose the solver"):
        align(model, prompts, solver="Gauss-Newton", save_memory=True)
    assert align(model, prompts, solver="Gauss-Newton", save_memory=True, aligned_steps=0).shape == (3, 4, 8, 8)
    assert align(model, prompts, solver="Gauss-Newton").isfinite().all()


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
                               dict(method="null_text", iterations=2, learning_rate=0.01), 0, negative)
        with pytest.raises(ValueError, match="cannot be differentiated, so no LoRA.*Connect the model without"):
            TrainModeLoRA.execute(model, latent, positive, 4, 1e-3, 1, 0, resume=False)


def test_an_interrupt_inside_the_backward_pass_of_block_checkpoints(cm, small):
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
        cm.with_denoiser(model, *prompts, 4.0, LEVELS, (4, 8, 8), 0, function, save_memory=True)
    assert seen == [], "the first block is not reached"
    assert comfy.model_management.in_training is False and not torch.is_inference_mode_enabled()
    assert all(parameter is weights[name] for name, parameter in network.named_parameters())
    assert not any(module._forward_hooks or "forward" in vars(module) for module in network.modules())
    assert torch.equal(steps_of_ksampler(model, prompts), before)
