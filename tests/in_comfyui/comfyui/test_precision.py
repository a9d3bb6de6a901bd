"""The matrix: architecture x parametrisation x precision x patched. Run with -s to see it as docs/architectures.md has
it."""
import pytest
import torch
from small_models import MODELS

# The precision of the weights, and of the computation where ComfyUI casts them.
PRECISIONS = {"fp32": (torch.float32, None), "bf16": (torch.bfloat16, None), "fp16": (torch.float16, None),
              "fp8, computed in fp32": (torch.float8_e4m3fn, torch.float32),
              "fp8, computed in bf16": (torch.float8_e4m3fn, torch.bfloat16)}
PATCHED = ("plain", "patched")
OTHER_PREDICTION = {"eps": "v_prediction", "v": "eps"}
DISCRETE = [name for name, small in MODELS.items() if small.parametrization in OTHER_PREDICTION]


@pytest.fixture(scope="module")
def cells(comfyui):
    """The outcome of every cell that ran; the table is printed when the last one is done."""
    found = {}
    yield found
    columns = [(precision, patched) for precision in PRECISIONS for patched in PATCHED]
    print("\n\n| model | prediction | " + " | ".join(f"{precision}{' +' * (patched == 'patched')}"
                                                     for precision, patched in columns)
          + " | fp32, the other prediction |")
    print("| --- " * (3 + len(columns)) + "|")
    for name, small in MODELS.items():
        other = found.get((name, "other"), "not run") if name in DISCRETE else "none: only flow is its own"
        print(f"| {name} | {small.parametrization} | "
              + " | ".join(found.get((name, *column), "not run") for column in columns)
              + f" | {other} |")


def patch_weights(model):
    """A difference on every linear weight, as a LoRA makes it, and another noise schedule with the same prediction."""
    import comfy.model_base
    import comfy.model_sampling
    from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete, ModelSamplingSD3

    model, generator = model.clone(), torch.Generator().manual_seed(5)
    model.add_patches({f"diffusion_model.{key}": ("diff", (0.02 * torch.randn(weight.shape, generator=generator),))
                       for key, weight in model.model.diffusion_model.named_parameters() if weight.ndim == 2}, 1.0)
    if isinstance(model.get_model_object("model_sampling"), comfy.model_sampling.CONST):
        multiplier = getattr(model.get_model_object("model_sampling"), "multiplier", 1.0)
        return ModelSamplingSD3().patch(model, 5.0, multiplier)[0]
    prediction = "v_prediction" if model.model.model_type is comfy.model_base.ModelType.V_PREDICTION else "eps"
    return ModelSamplingDiscrete().patch(model, prediction, True)[0]


@pytest.mark.parametrize("patched", PATCHED)
@pytest.mark.parametrize("precision", list(PRECISIONS))
@pytest.mark.parametrize("name", list(MODELS))
def test_matrix(cells, name, precision, patched):
    dtype, computed = PRECISIONS[precision]
    model = MODELS[name].build(dtype, manual_cast=computed)
    if patched == "patched":
        model = patch_weights(model)
    error = checked_error(model, MODELS[name])
    assert error < (1e-3 if torch.float32 in (dtype, computed) else 0.05)
    cells[name, precision, patched] = f"passed ({error:.1g})"


@pytest.mark.parametrize("name", DISCRETE)
def test_the_other_prediction(cells, name):
    """A model that predicts eps taken for one of v, and the other way round: the same checks."""
    from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete

    small = MODELS[name]
    model = ModelSamplingDiscrete().patch(small.build(), OTHER_PREDICTION[small.parametrization], False)[0]
    error = checked_error(model, small)
    assert error < 1e-3
    cells[name, "other"] = f"passed ({error:.1g})"


def checked_error(model, small):
    """The error of the gradient self-test in the model's own precision; the prediction has to be the very one of core's
    guider."""
    from core_predictions import by_core, noise

    from mental_averages.dma.models import check_gradient
    from mental_averages.nodes import comfyui

    sigma, shape = 0.6 if small.parametrization == "flow" else 5.0, (model.model.latent_format.latent_channels,
                                                                     *small.size)
    positive, negative = small.conditioning(1), small.conditioning(2)
    error, denoised = comfyui.with_denoiser(
        model, positive, negative, 3.0, torch.tensor([sigma, 0.0]), shape, 0,
        lambda denoiser: (check_gradient(denoiser, shape, sigma), denoiser.denoise(noise(shape, sigma), sigma)))
    # Core carries latents of some models with a time axis of length one.
    core_shape = (shape[0], *(1,) * (model.model.latent_format.latent_dimensions - 2), *small.size)
    assert torch.equal(denoised, by_core(model, positive, negative, 3.0, sigma, core_shape)[0].view_as(denoised))
    return error


def test_a_wrong_gradient_is_refused(comfyui):
    """A block that works in place, recomputed by PyTorch's own checkpoint: no error, and a gradient that is off by a
    tenth."""
    from torch.utils.checkpoint import checkpoint

    from mental_averages.dma.models import check_gradient
    from mental_averages.nodes import comfyui

    small = MODELS["Flux"]
    model, shape = small.build(), (16, *small.size)
    block = model.model.diffusion_model.double_blocks[0]
    forward = block.forward
    block.forward = lambda **options: checkpoint(forward, use_reentrant=False, **options)
    with pytest.raises(ValueError, match="gradient of this model's features is wrong|cannot be differentiated"):
        comfyui.with_denoiser(model, small.conditioning(1), small.conditioning(2), 1.0, torch.tensor([0.6, 0.0]),
                                  shape, 0, lambda denoiser: check_gradient(denoiser, shape, 0.6))


def test_an_operator_without_a_backward_pass_is_refused(comfyui):
    import contextlib

    from mental_averages.dma.models import check_gradient
    from mental_averages.nodes import comfyui

    small = MODELS["Qwen-Image"]
    model, shape = small.build(), (16, *small.size)

    def run(denoiser):
        denoiser.recording = contextlib.nullcontext  # core's fast rotary embedding, which has no gradient
        return check_gradient(denoiser, shape, 0.6)

    with pytest.raises(ValueError, match="cannot be differentiated.*autograd"):
        comfyui.with_denoiser(model, small.conditioning(1), small.conditioning(2), 1.0, torch.tensor([0.6, 0.0]),
                                  shape, 0, run)


def error_of(model, small):
    """What the gradient self-test measures, at the last block."""
    from mental_averages.dma.models import check_gradient
    from mental_averages.nodes import comfyui

    found, shape = [], (model.model.latent_format.latent_channels, *small.size)

    def run(denoiser):
        found.append(check_gradient(denoiser, shape, 0.6))
        return torch.zeros(1, *shape)

    comfyui.with_denoiser(model, small.conditioning(1), small.conditioning(2), 3.0, torch.tensor([0.6, 0.0]), shape,
                              0, run)
    return found[0]


@pytest.mark.parametrize("kind, highest, tolerance", [("float8_e4m3fn", 448.0, 0.05), ("int8_tensorwise", 127.0, 0.05)])
def test_quantised_checkpoints(comfyui, kind, highest, tolerance):
    """Scaled 8-bit weights in ComfyUI's own mixed precision layers, loaded under inference mode."""
    import json

    import comfy.model_base
    import comfy.model_patcher
    import comfy.ops
    import comfy.quant_ops
    import comfy.supported_models
    from core_predictions import by_core

    small, storage = MODELS["SD3"], comfy.quant_ops.QUANT_ALGOS[kind]["storage_t"]
    weights = dict(small.build().model.diffusion_model.state_dict())
    with torch.inference_mode():
        for key in [key for key, weight in weights.items() if "joint_blocks" in key and key.endswith(".weight")
                    and weight.ndim == 2]:
            scale = weights[key].abs().max() / highest
            scaled = weights[key] / scale
            weights[key] = (scaled if storage.is_floating_point else scaled.round()).to(storage)
            weights[f"{key}_scale"] = scale
            weights[key.removesuffix("weight") + "comfy_quant"] = torch.tensor(
                list(json.dumps({"format": kind}).encode()), dtype=torch.uint8)
        config = comfy.supported_models.SD3({**small.unet_config, "dtype": torch.float32})
        config.custom_operations = comfy.ops.mixed_precision_ops({}, compute_dtype=torch.float32)
        model = comfy.model_base.SD3(config)
        assert not any(model.diffusion_model.load_state_dict(weights, strict=False))
    cpu = torch.device("cpu")
    held = model.diffusion_model.joint_blocks[0].x_block.attn.qkv.weight
    assert isinstance(held, comfy.quant_ops.QuantizedTensor)
    patcher = comfy.model_patcher.ModelPatcher(model, load_device=cpu, offload_device=cpu)
    assert error_of(patcher, small) < tolerance
    # Once more after a KSampler has loaded it, which leaves its weights as inference tensors.
    by_core(patcher, small.conditioning(1), small.conditioning(2), 3.0, 0.6, (16, *small.size))
    assert error_of(patcher, small) < tolerance


@pytest.mark.parametrize("name", ["SD3", "Flux"])
def test_weights_that_do_not_fit_the_device(comfyui, name):
    """A model that is loaded in part, its other weights cast at each layer (on the CPU, so without buffers of a
    GPU)."""
    import comfy.patcher_extension

    model, lowvram = MODELS[name].build(), []

    def load_in_part(executor, patcher, *arguments, **options):
        result = executor(patcher, *arguments, **options)
        patcher.load(patcher.load_device, lowvram_model_memory=1)
        lowvram.append(patcher.model.model_lowvram)
        return result

    model.add_wrapper(comfy.patcher_extension.WrappersMP.PREPARE_SAMPLING, load_in_part)
    assert error_of(model, MODELS[name]) < 1e-3 and lowvram == [True]


def test_dynamic_vram_without_a_way_back_is_explained(comfyui, monkeypatch):
    """Core makes no dynamic patcher on a CPU, so its way back to a static one is called on an ordinary patcher here."""
    import comfy.model_patcher

    small = MODELS["SD3"]
    model = small.build()
    way_back = comfy.model_patcher.ModelPatcherDynamic.get_non_dynamic_delegate
    for name, value in dict(is_dynamic=lambda: True, non_dynamic_delegate_model=None, cached_patcher_init=None,
                            get_non_dynamic_delegate=lambda: way_back(model)).items():
        monkeypatch.setattr(model, name, value, raising=False)
    with pytest.raises(ValueError, match="dynamic VRAM.*--disable-dynamic-vram"):
        error_of(model, small)
    # What core's own loaders leave behind: how to load the same model once more.
    model.cached_patcher_init = (lambda disable_dynamic: small.build(), ())
    assert error_of(model, small) < 1e-3


def test_weights_of_classes_of_their_own_are_left_alone(comfyui):
    """GGUF and others keep packed weights in a subclass of Tensor: an alias of the bare memory would lose how to read
    it."""
    from mental_averages.nodes.comfyui import normal_weights

    class Packed(torch.Tensor):
        pass

    network = torch.nn.Linear(2, 2, bias=False)
    with torch.inference_mode():
        packed = torch.zeros(2, 2).as_subclass(Packed)
    network._parameters["weight"] = packed
    with normal_weights([network]):
        assert network.weight is packed


def test_flags_of_comfyui_are_put_back(comfyui):
    import comfy.model_management

    from mental_averages.nodes import comfyui

    small = MODELS["SD3"]
    model, seen = small.build(), []
    hook = model.model.diffusion_model.x_embedder.register_forward_hook(
        lambda *arguments: seen.append(comfy.model_management.in_training))

    def run(denoiser):
        denoiser.features(torch.randn(1, 16, 6, 4), 0.6)
        denoiser.denoise(torch.randn(1, 16, 6, 4), 0.6)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        comfyui.with_denoiser(model, small.conditioning(1), small.conditioning(2), 1.0, torch.tensor([0.6, 0.0]),
                                  (16, 6, 4), 0, run)
    hook.remove()
    assert seen == [True, False] and comfy.model_management.in_training is False
