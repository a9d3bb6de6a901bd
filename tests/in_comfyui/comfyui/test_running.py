"""A function on the Denoiser of a MODEL leaves the MODEL as it was, and finds it as it is."""
import copy
import sys

import pytest
import torch
from alignments import align, steps_of_ksampler
from every_node import DIFFERENTIATING, PREDICTING, READING, run

LEVELS = torch.tensor([5.0, 0.0])


def ksampler(model, prompts):
    import nodes

    with torch.inference_mode():
        return nodes.common_ksampler(model, 5, 3, 4.0, "euler", "normal", *prompts,
                                     {"samples": torch.zeros(1, 4, 8, 8)})[0]["samples"]


@pytest.mark.parametrize("end", ["finished", "error", "interrupt"])
def test_model_is_bit_identical_for_others_afterwards(bridge, demo, prompts, end):
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
        bridge.with_denoiser(*arguments)
    else:
        with pytest.raises(RuntimeError if end == "error" else comfy.model_management.InterruptProcessingException):
            bridge.with_denoiser(*arguments)
    after = ksampler(demo[0], prompts)
    assert torch.equal(before, after)
    assert not torch.is_inference_mode_enabled()


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


def ddim_select(model, prompts):
    """Our SAMPLER in the place of a KSampler's, inverting with several calls at each noise level."""
    import comfy.sample

    from mental_averages.dma.inversion import FixedPoint
    from mental_averages.nodes.comfyui import DeterministicSampler

    picture = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(7))
    sampler, sigmas = DeterministicSampler(FixedPoint(1e-6, 5, 2)), torch.linspace(0.5, 10, 6)
    with torch.inference_mode():
        return comfy.sample.sample_custom(model, torch.zeros_like(picture), 1.0, sampler, sigmas, *prompts, picture)


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


def in_dynamic_vram(model):
    """A MODEL that says it is in dynamic VRAM, of a loader that cannot load it in another way."""
    import comfy.model_patcher

    class Dynamic(comfy.model_patcher.ModelPatcher):
        asked = 0

        def is_dynamic(self):
            # Core asks too, and would manage the memory of a GPU: it is told the truth.
            return sys._getframe(1).f_globals["__name__"].startswith("mental_averages")

        def get_non_dynamic_delegate(self):
            Dynamic.asked += 1
            raise RuntimeError("Cannot create non-dynamic delegate: cached_patcher_init is not initialized.")

    other = model.clone()
    other.__class__ = Dynamic
    return other, Dynamic


@pytest.mark.parametrize("node", list(PREDICTING))
def test_a_model_in_dynamic_vram_stays_there_for_predictions(small, node):
    model, prompts = small
    other, kind = in_dynamic_vram(model)
    assert torch.equal(run(node, other, prompts), run(node, model, prompts)) and kind.asked == 0


@pytest.mark.parametrize("node", list(READING))
def test_features_are_read_beside_adapters_in_dynamic_vram(small, node):
    """Nothing is differentiated, so that nothing has to be loaded in another form."""
    other, kind = in_dynamic_vram(small[0])
    other.set_injections("bypass_lora", [])
    run(node, other, small[1])
    assert kind.asked == 0


@pytest.mark.parametrize("node", list(DIFFERENTIATING))
def test_a_model_in_dynamic_vram_is_loaded_anew_for_gradients(small, node):
    other, kind = in_dynamic_vram(small[0])
    with pytest.raises(ValueError, match="in dynamic VRAM, and the node that loaded it cannot load it"):
        run(node, other, small[1])
    assert kind.asked == 1


def test_adapters_beside_the_layers_are_not_lost_with_dynamic_vram(small):
    other, _ = in_dynamic_vram(small[0])
    other.set_injections("bypass_lora", [])
    with pytest.raises(ValueError, match="adapters beside its layers.*Load LoRA"):
        run("AlignTrajectories", other, small[1])


@pytest.mark.parametrize("asked, gradients, rows", [(0, False, 64), (3, False, 3), (0, True, 256), (3, True, 12)])
def test_core_frees_memory_for_as_many_latents_as_the_user_asks_for(bridge, tiny_model, monkeypatch, asked, gradients,
                                                                    rows):
    import comfy.sampler_helpers

    prepare, shapes = comfy.sampler_helpers.prepare_sampling, []

    def noted(model, noise_shape, *arguments, **options):
        shapes.append(tuple(noise_shape))
        return prepare(model, noise_shape, *arguments, **options)

    monkeypatch.setattr(comfy.sampler_helpers, "prepare_sampling", noted)
    text = [[torch.zeros(1, 7, 16), {}]]
    bridge.with_denoiser(tiny_model, text, text, 1.0, torch.tensor([5.0, 0.0]), (4, 8, 8), 0, lambda denoiser: None,
                         layer=None, gradients=gradients, at_once=asked)
    assert shapes == [(rows, 4, 8, 8)]
