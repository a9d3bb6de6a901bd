"""Models and ControlNets in dynamic VRAM. Core makes no dynamic patcher on a CPU: its methods are called on an ordinary
one, and its casting runs on an allocator in Python."""
import dynamic_vram
import pytest
import torch
from controls import controlled
from core_predictions import prompts
from patched_models import lora
from small_models import MODELS

LATENT = {"samples": torch.zeros(1, 4, 6, 4)}
LAYER = "diffusion_model.middle_block.0.in_layers.2"


@pytest.fixture
def casting(comfyui, monkeypatch):
    dynamic_vram.install(monkeypatch)


def dynamic_patcher(model, loader):
    """A MODEL with core's way to its static form, which `loader` loads."""
    import comfy.model_patcher

    class Dynamic(comfy.model_patcher.ModelPatcher):
        get_non_dynamic_delegate = comfy.model_patcher.ModelPatcherDynamic.get_non_dynamic_delegate

        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            self.non_dynamic_delegate_model = None

        def is_dynamic(self):
            return True

    found = Dynamic(model.model, model.load_device, model.offload_device)
    found.cached_patcher_init = (loader, ())
    return found


def average(model, texts, batch_size):
    from mental_averages.nodes.mean_shift import MentalAverage

    with torch.inference_mode():
        return MentalAverage.execute(model, texts[0], LATENT, 8, 4, 2, 3.0, "normal", 0, negative=texts[1],
                                     batch_size=batch_size, resume=False).args[0]["samples"]


def align(model, texts):
    from mental_averages.nodes.alignment import AlignTrajectories

    with torch.inference_mode():
        return AlignTrajectories.execute(model, *texts, LATENT, {"preset": "draft"}, 4, 3, 7.0, "normal", 0,
                                         resume=False).args[0]["samples"]


def sampled(model, texts):
    import nodes

    with torch.inference_mode():
        return nodes.KSampler().sample(model, 0, 3, 7.0, "euler", "normal", *texts, LATENT)[0]["samples"]


def dynamic_with_lora(resident):
    """A small model in dynamic VRAM with a LoRA on one layer; `resident`: there is room for its weights."""
    import comfy.model_patcher

    model = MODELS["SD1.5"].build()
    patched = lora(model, 1.0)
    dynamic_vram.make_dynamic(model.model.diffusion_model, resident)
    layer = model.model.get_submodule(LAYER)
    layer.weight_lowvram_function = comfy.model_patcher.LowVramPatch(f"{LAYER}.weight", patched.patches)
    layer.weight_lowvram_function._pin_state = {}
    return model, layer


@pytest.mark.parametrize("resident", [True, False])
def test_memory_that_runs_out_in_the_middle_of_a_cast_leaves_nothing_behind(casting, monkeypatch, resident):
    """Core notes at a layer that its weights are being cast; if the note stayed, the layer would go on with whatever
    others write into the shared buffer."""
    from comfy.model_patcher import LowVramPatch

    texts, failed = prompts(), []
    whole, sample = average(dynamic_with_lora(resident)[0], texts, 4), sampled(dynamic_with_lora(resident)[0], texts)
    plain = MODELS["SD1.5"].build()
    dynamic_vram.make_dynamic(plain.model.diffusion_model, resident)
    assert not torch.allclose(average(plain, texts, 4), whole, atol=0.1)  # the LoRA shows
    applied = LowVramPatch.__call__

    def without_memory_once(self, weight):
        if not failed:
            failed.append(True)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return applied(self, weight)

    monkeypatch.setattr(LowVramPatch, "__call__", without_memory_once)
    model, layer = dynamic_with_lora(resident)
    torch.testing.assert_close(average(model, texts, 4), whole, rtol=1e-4, atol=1e-4)
    assert failed and not hasattr(layer, "_prefetch")
    torch.testing.assert_close(sampled(model, texts), sample, rtol=1e-4, atol=1e-4)


def test_memory_that_runs_out_where_a_misfit_is_looked_for_leaves_nothing_behind(casting, bridge, monkeypatch):
    """After any failure forward passes ask what does not fit: they find less memory than anything else."""
    from comfy.model_patcher import LowVramPatch

    texts, asked = prompts(), []
    sample = sampled(dynamic_with_lora(True)[0], texts)
    applied = LowVramPatch.__call__

    def without_memory_once(self, weight):
        asked.append(hasattr(layer, "_prefetch"))
        if len(asked) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return applied(self, weight)

    def failing(denoiser):
        monkeypatch.setattr(LowVramPatch, "__call__", without_memory_once)
        raise KeyError("something else")

    model, layer = dynamic_with_lora(True)
    with pytest.raises(KeyError, match="something else"):
        bridge.with_denoiser(model, *texts, 3.0, torch.tensor([5.0, 0.0]), (4, 6, 4), 0, failing)
    assert asked[0] and not hasattr(layer, "_prefetch")
    torch.testing.assert_close(sampled(model, texts), sample, rtol=1e-4, atol=1e-4)


def test_gradients_through_a_control_net_in_dynamic_vram(casting):
    """A KSampler leaves weights that were cast in inference mode, which autograd cannot save."""
    model, texts = MODELS["SD1.5"].build(), prompts()
    steered = controlled(texts[0]), texts[1]
    network = steered[0][0][1]["control"].control_model
    aligned, sample = align(model, steered), sampled(model, steered)
    dynamic_vram.make_dynamic(network)
    for _ in range(2):
        assert torch.equal(align(model, steered), aligned)
        dynamic_vram.evict(network)
        assert torch.equal(sampled(model, steered), sample)


def test_gradients_through_a_control_net_that_is_computed_in_another_type_than_its_file(casting):
    model, texts = MODELS["SD1.5"].build(), prompts()
    steered = controlled(texts[0]), texts[1]
    network = steered[0][0][1]["control"].control_model
    for layer in network.modules():
        if isinstance(layer, torch.nn.Linear):
            layer.weight_comfy_model_dtype = layer.bias_comfy_model_dtype = torch.bfloat16
    dynamic_vram.make_dynamic(network)
    sampled(model, steered)
    dynamic_vram.evict(network)
    assert align(model, steered).isfinite().all()


def test_there_is_one_static_form_of_a_checkpoint(comfyui):
    """Core keeps it for a single MODEL, and not for those that LoRAs make of it."""
    from mental_averages.nodes.comfyui._dynamic_vram import with_weights_that_stay

    small, loads = MODELS["SD3"], []

    def load(disable_dynamic):
        loads.append(disable_dynamic)
        return small.build()

    model = dynamic_patcher(small.build(), load)
    weight = next(name for name, each in model.model.named_parameters() if each.ndim == 2)
    adapted = [model.clone() for _ in range(3)]
    for strength, each in enumerate(adapted):
        each.add_patches({weight: ("diff", (torch.ones_like(model.model.get_parameter(weight)),))}, float(strength))
    forms = [with_weights_that_stay(each) for each in (adapted[0], model, *adapted)]
    assert loads == [True] and len({id(each.model) for each in forms}) == 1 and forms[0].model is not model.model
    # Each has its own patches.
    assert [len(each.patches) for each in forms] == [1, 0, 1, 1, 1]
    assert [each.patches[weight][0][0] for each in forms[2:]] == [0.0, 1.0, 2.0]
    # Another checkpoint has another.
    other = dynamic_patcher(small.build(), load)
    assert with_weights_that_stay(other).model is not forms[0].model and len(loads) == 2


def test_core_can_unload_the_static_form(comfyui):
    """Core holds what it has loaded weakly, and by its parent when it is gone."""
    import comfy.model_management as management

    from mental_averages.nodes.comfyui._dynamic_vram import with_weights_that_stay

    small = MODELS["SD3"]
    model = dynamic_patcher(small.build(), lambda disable_dynamic: small.build())
    for _ in range(3):
        form = with_weights_that_stay(model.clone())
        management.load_models_gpu([form])
        network = form.model
        del form
    held = [each.model for each in management.current_loaded_models if each.model is not None]
    assert [each.model for each in held if each.model in (network, model.model)] == [network]
    assert network.model_loaded_weight_memory > 0
    management.unload_all_models()
    assert network.model_loaded_weight_memory == 0


def test_a_lora_stays_where_parts_of_the_static_form_are_unloaded_meanwhile(comfyui):
    """Another model needs room after a run, and core unloads a part by what it holds of the form: its parent."""
    import comfy.model_management as management

    from mental_averages.nodes.comfyui._dynamic_vram import with_weights_that_stay

    texts = prompts()
    expected = sampled(lora(MODELS["SD1.5"].build(), 1.0), texts)
    assert not torch.equal(sampled(MODELS["SD1.5"].build(), texts), expected)
    model = lora(dynamic_patcher(MODELS["SD1.5"].build(), lambda disable_dynamic: MODELS["SD1.5"].build()), 1.0)
    form = with_weights_that_stay(model)
    management.load_models_gpu([form])
    network = form.model
    del form
    # Another form is made meanwhile, and not loaded.
    with_weights_that_stay(lora(model.clone(), 3.0))
    (held,) = [each.model for each in management.current_loaded_models
               if each.model is not None and each.model.model is network]
    assert held.partially_unload(held.offload_device, 1e30) > 0
    patches = network.get_submodule(LAYER).weight_function
    assert [type(each).__name__ for each in patches] == ["LowVramPatch"]
    assert [strength for strength, *_ in patches[0].patches[f"{LAYER}.weight"]] == [1.0]
    again = with_weights_that_stay(model)
    held.detach(unpatch_all=False)
    again.partially_load(again.load_device, 0)
    torch.testing.assert_close(sampled(again, texts), expected, rtol=1e-4, atol=1e-4)


def test_a_patched_static_form_goes_back_to_the_chosen_type(comfyui):
    """Core has made the static form itself, as it does for hooks, and has patched it."""
    import comfy.model_management

    from mental_averages.nodes.comfyui._dynamic_vram import with_weights_that_stay

    def load(disable_dynamic):
        found = MODELS["SD1.5"].build()
        layer = found.model.get_submodule(LAYER)
        layer.weight_comfy_model_dtype = torch.bfloat16
        found.model.diffusion_model.tied = torch.nn.Module()
        found.model.diffusion_model.tied.weight_comfy_model_dtype = torch.bfloat16
        found.model.diffusion_model.tied.weight = layer.weight
        return found

    model = dynamic_patcher(load(True), load)
    patched = lora(model, 1.0)
    comfy.model_management.load_models_gpu([patched.get_non_dynamic_delegate()])
    form = with_weights_that_stay(patched)
    assert form.backup[f"{LAYER}.weight"].weight.dtype == torch.bfloat16
    form.unpatch_model(form.offload_device)
    assert form.model.get_submodule(LAYER).weight.dtype == torch.bfloat16
    clean = with_weights_that_stay(dynamic_patcher(load(True), load)).model
    assert clean.get_submodule(LAYER).weight is clean.diffusion_model.tied.weight


def test_the_static_form_has_the_type_that_core_has_chosen(comfyui, monkeypatch):
    """With dynamic VRAM switched on, core's loader leaves linear weights in the type of the file: here fp32, where core
    computes in bf16 without casting."""
    import comfy.memory_management
    import comfy.model_management
    import comfy.sd
    import comfy.utils

    import pack
    from mental_averages.nodes.comfyui._dynamic_vram import with_weights_that_stay

    file = {key: value.float() if value.is_floating_point() else value
            for key, value in comfy.utils.load_torch_file(str(pack.demo_checkpoint())).items()}
    monkeypatch.setattr(comfy.model_management, "unet_dtype", lambda *_, **__: torch.bfloat16)
    monkeypatch.setattr(comfy.model_management, "unet_manual_cast", lambda *_, **__: None)

    def load(disable_dynamic, aimdo=True):
        monkeypatch.setattr(comfy.memory_management, "aimdo_enabled", aimdo)
        with torch.inference_mode():
            found = comfy.sd.load_state_dict_guess_config(dict(file), output_vae=False, output_clip=False,
                                                          disable_dynamic=disable_dynamic)[0]
        monkeypatch.setattr(comfy.memory_management, "aimdo_enabled", False)
        return found

    def types(model):
        return {value.dtype for value in model.model.diffusion_model.parameters()}

    assert types(load(True)) == {torch.float32, torch.bfloat16}
    form = with_weights_that_stay(dynamic_patcher(load(True), load))
    assert types(form) == {torch.bfloat16}
    texts = [[[torch.randn((1, 7, 768), generator=torch.Generator().manual_seed(seed)), {}]] for seed in range(2)]
    assert torch.equal(sampled(form, texts), sampled(load(True, aimdo=False), texts))


def test_weights_that_core_has_moved_meanwhile_are_not_put_back(comfyui):
    """Core loads and unloads parts of a network in mid-run, as for a ControlNet that needs a VAE."""
    from mental_averages.nodes.comfyui import normal_weights

    with torch.inference_mode():
        network = torch.nn.Sequential(*(torch.nn.Linear(2, 2, bias=False) for _ in range(3)))
    before = [layer.weight for layer in network]
    with torch.inference_mode(False), normal_weights([network]):
        assert not any(layer.weight.is_inference() for layer in network)
        exchanged = network[1]._parameters["weight"] = torch.nn.Parameter(torch.ones(2, 2), requires_grad=False)
        network[2].weight.data = network[2].weight.data.clone()
        moved = network[2].weight
    assert network[0].weight is before[0] and network[1].weight is exchanged and network[2].weight is moved


def test_both_networks_of_a_guider_with_two_models_take_part(unet):
    import comfy_extras.nodes_custom_sampler as core

    from mental_averages.nodes.comfyui._dynamic_vram import networks_of

    other = MODELS["SD1.5"].build()
    guider = core.DualModelGuider.execute(unet, prompts()[0], 4.0, other, prompts()[1]).args[0]
    guider.conds, guider.inner_model = {}, unet.model
    assert networks_of(guider) == [unet.model.diffusion_model]
    guider.uncond_inner = other.model
    assert networks_of(guider) == [unet.model.diffusion_model, other.model.diffusion_model]
