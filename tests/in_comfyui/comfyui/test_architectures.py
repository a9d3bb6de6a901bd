"""Every row of the table of architectures against a small network of that kind, built and run by ComfyUI itself."""
import pytest
import torch
from alignments import execute
from differences import derivative, step_of, tolerance_of
from small_models import MODELS

# The first image row in blocks whose sequence begins with text: 7 tokens of text, 8 registers in AuraFlow, prompts
# padded to 512 in Flux 2 and to 32 in Z-Image.
FIRST_IMAGE_ROW = {"Flux": 7, "Flux 2": 512, "Chroma": 7, "AuraFlow": 15, "Lumina 2": 7, "Z-Image": 32}
EVERY_LAYER = {
    "SD1.5": [*(f"input_blocks.{i}" for i in range(4)), "middle_block", *(f"output_blocks.{i}" for i in range(4))],
    "SD3": ["joint_blocks.0", "joint_blocks.1"],
    "Flux": ["double_blocks.0", "double_blocks.1", "single_blocks.0", "single_blocks.1"],
    "PixArt": ["blocks.0", "blocks.1"],
    "AuraFlow": ["double_layers.0", "double_layers.1", "single_layers.0", "single_layers.1"],
    "HunyuanDiT": ["blocks.0", "blocks.1", "blocks.2", "blocks.3"],
    "Lumina 2": ["noise_refiner.0", "layers.0", "layers.1"],
    "Qwen-Image": ["transformer_blocks.0", "transformer_blocks.1"],
}
EVERY_LAYER |= {name: EVERY_LAYER["SD1.5"] for name in ("SD2.x", "SDXL", "SDXL refiner")}
EVERY_LAYER |= {"Flux 2": EVERY_LAYER["Flux"], "Chroma": EVERY_LAYER["Flux"], "Z-Image": EVERY_LAYER["Lumina 2"]}
# Networks that compute in single precision inside (rotary embeddings) whatever their own precision is.
SINGLE_INSIDE = {"Flux", "Flux 2", "Chroma", "HunyuanDiT", "Lumina 2", "Z-Image"}
all_models = pytest.mark.parametrize("name", list(MODELS))


def shape_of(model, name):
    return (model.model.latent_format.latent_channels, *MODELS[name].size)


def level_of(name):
    return 0.7 if MODELS[name].parametrization == "flow" else 5.0


def latents(model, name, count=2, dtype=torch.float32):
    return level_of(name) * torch.randn((count, *shape_of(model, name)), generator=torch.Generator().manual_seed(0),
                                        dtype=dtype)


def on_denoiser(bridge, model, name, function, dtype=torch.float32, guidance=1.0, **options):
    """What `function` returns for the Denoiser of a small model and latents (2, C, H, W)."""
    small, found = MODELS[name], []

    def run(denoiser):
        found.append(function(denoiser, latents(model, name, dtype=dtype)))
        return torch.zeros((1, *shape_of(model, name)))

    bridge.with_denoiser(model, small.conditioning(1, dtype), small.conditioning(2, dtype), guidance,
                     torch.tensor([level_of(name), 0.0]), shape_of(model, name), 0, run, **options)
    return found[0]


def places_of(model):
    from mental_averages.nodes import comfyui

    return comfyui.places(model.model.diffusion_model)


@all_models
def test_layers_run_once_in_the_order_of_the_table(bridge, built, name):
    model = built(name)
    assert bridge.layer_names(model) == EVERY_LAYER[name]
    assert bridge.resolve_layer(model, "auto") == ("middle_block" if "middle_block" in EVERY_LAYER[name]
                                               else EVERY_LAYER[name][-1])
    order = []
    hooks = [place.module.register_forward_hook(lambda module, inputs, output, layer=layer: order.append(layer))
             for layer, place in places_of(model).items()]
    try:
        on_denoiser(bridge, model, name, lambda denoiser, x: denoiser.denoise(x, level_of(name)))
    finally:
        for hook in hooks:
            hook.remove()
    assert order == EVERY_LAYER[name]


@all_models
def test_features_equal_a_plain_reading_and_nothing_runs_after_them(bridge, built, name):
    model = built(name)
    places, sigma = places_of(model), level_of(name)
    read, calls = {}, []

    def plain(layer, output):
        element = places[layer].blocks.element
        output = output if element is None else output[element]
        if output.ndim == 4:
            return output.clone()
        height, width = (side // places[layer].patch_size for side in MODELS[name].size)
        start = FIRST_IMAGE_ROW[name] if layer.startswith(("single", "layers")) else 0
        # Cloned, because blocks that work in place go on changing it.
        return output[:, start:start + height * width].clone().reshape(2, height, width, -1).permute(0, 3, 1, 2)

    def watch(layer):
        def hook(module, inputs, output):
            calls.append(layer)
            read.setdefault(layer, plain(layer, output))
        return hook

    def compare(denoiser, x):
        hooks = [place.module.register_forward_hook(watch(layer)) for layer, place in places.items()]
        denoiser.denoise(x, sigma)
        for index, layer in enumerate(EVERY_LAYER[name]):
            calls.clear()
            denoiser.place = places[layer]
            features = denoiser.features(x, sigma)
            assert calls == EVERY_LAYER[name][:index + 1], f"{layer} did not end the forward pass"
            torch.testing.assert_close(features, read[layer], rtol=1e-4, atol=1e-5)
        for hook in hooks:
            hook.remove()
        together, alone = denoiser.features(x, sigma), denoiser.features(x[1:], sigma)
        torch.testing.assert_close(together[1:], alone, rtol=1e-4, atol=1e-5)

    on_denoiser(bridge, model, name, compare)


@all_models
def test_features_lie_where_the_latent_is(bridge, built, name):
    """What changes in one corner of the latent changes the features of that corner most."""
    model = built(name)
    places, sigma = places_of(model), level_of(name)

    def compare(denoiser, x):
        changed = x[:1].clone()
        changed[:, :, -2:, :2] += 10 * torch.randn(changed[:, :, -2:, :2].shape,
                                                   generator=torch.Generator().manual_seed(1))
        for layer in EVERY_LAYER[name]:
            denoiser.place = places[layer]
            moved = (denoiser.features(changed, sigma) - denoiser.features(x[:1], sigma)).norm(dim=1)[0]  # (h, w)
            rows, columns = x.shape[2] / moved.shape[0], x.shape[3] / moved.shape[1]
            row, column = divmod(moved.argmax().item(), moved.shape[1])
            # A U-Net's 3x3 convolutions carry the change to the next column, and this map has no more than two.
            assert ((row + 1) * rows > x.shape[2] - 2
                    and (column * columns < 2 or places[layer].patch_size == 1)), (layer, moved)

    on_denoiser(bridge, model, name, compare)


@all_models
def test_gradients(bridge, name):
    """Autograd, with and without block checkpoints, against central differences in double precision."""
    model, sigma = MODELS[name].build(torch.float64), level_of(name)
    layers = sorted({EVERY_LAYER[name][0], EVERY_LAYER[name][-1], bridge.resolve_layer(model, "auto")})

    def differentiated(function):
        """`function(features, x, rest, gradient)` for every layer, where the gradient is that of <features, rest>."""
        def run(denoiser, x):
            found = {}
            for layer in layers:
                at_layer = denoiser.at(layer)

                def features(z, at_layer=at_layer):
                    return at_layer.features(z, sigma)

                leaf = x.clone().requires_grad_()
                with torch.enable_grad():
                    output = features(leaf)
                    rest = (output - 0.5 * output.flip(0)).detach()
                    (gradient,) = torch.autograd.grad(output, leaf, rest)
                found[layer] = function(features, x, rest, gradient)
            return found
        return run

    def compare(features, x, rest, gradient):
        norm, precision = gradient.norm().item(), torch.float32 if name in SINGLE_INSIDE else torch.float64
        change = derivative(features, x, gradient / norm, step_of(precision, sigma))
        allowed = tolerance_of(precision, features(x), change.norm().item(), sigma)
        assert norm == pytest.approx((change * rest).sum().item(), rel=allowed)
        return gradient

    plain = on_denoiser(bridge, model, name, differentiated(compare), torch.float64)
    saving = on_denoiser(bridge, model, name, differentiated(lambda features, x, rest, gradient: gradient),
                         torch.float64, save_memory=True)
    for layer in layers:
        torch.testing.assert_close(saving[layer], plain[layer], rtol=1e-6, atol=1e-8)
    assert not any("forward" in vars(module) for module in model.model.diffusion_model.modules())


@pytest.mark.parametrize("name", ["Flux", "Chroma", "SD3"])
def test_rows_that_claim_to_work_in_place_do(bridge, built, name):
    """Without copies of what is saved, the backward pass fails for networks that work in place, and only for those."""
    from mental_averages.nodes import comfyui

    def differentiate(denoiser, x):
        denoiser.recording = lambda: comfyui.differentiable(None)
        with torch.enable_grad():
            leaf = x.clone().requires_grad_()
            return torch.autograd.grad(denoiser.features(leaf, level_of(name)).sum(), leaf)

    if comfyui.works_in_place(built(name).model.diffusion_model):
        with pytest.raises(RuntimeError, match="inplace operation"):
            on_denoiser(bridge, built(name), name, differentiate)
    else:
        on_denoiser(bridge, built(name), name, differentiate)


@all_models
def test_patch_points_of_comfyui_reach_the_same_places(bridge, built, name):
    expected = {layer: place.blocks for layer, place in places_of(built(name)).items() if place.blocks.patch}
    model, calls = built(name).clone(), []

    def count(patch):
        def replaced(arguments, extra):
            calls.append(patch)
            return extra["original_block"](arguments)

        def patched(*arguments):
            calls.append(patch)
            return arguments[0]
        return replaced if patch.startswith("patches_replace") else patched

    for patch in {blocks.patch for blocks in expected.values()}:
        kind, _, point = patch.partition(": ")
        if kind == "patches":
            model.set_model_patch(count(patch), point)
        else:
            for index in range(4):
                model.set_model_patch_replace(count(patch), "dit", point, index)
    on_denoiser(bridge, model, name, lambda denoiser, x: denoiser.denoise(x, level_of(name)))
    assert calls == [blocks.patch for blocks in expected.values()]


@all_models
def test_sampling_equals_core_and_alignment_pulls_together(bridge, built, name):
    """The nodes on every architecture: without aligned steps a KSampler, with them residuals that fall."""
    import nodes

    small, model = MODELS[name], built(name)
    empty = {"samples": torch.zeros((1, *shape_of(model, name)))}
    with torch.inference_mode():
        positive, negative = small.conditioning(1), small.conditioning(2)

        def align(aligned_steps, count):
            return execute(model, positive, negative, empty, count=count, steps=3, aligned_steps=aligned_steps,
                           iterations=4, cfg=3.0, scheduler="simple", seed=11, keep=count, resume=False)

        ours, _ = align(0, 1)
        (core,) = nodes.common_ksampler(model, 11, 3, 3.0, "euler", "simple", positive, negative, empty)
        assert ours["samples"].shape == core["samples"].shape
        torch.testing.assert_close(ours["samples"], core["samples"], rtol=1e-3, atol=1e-3)
        _, report = align(1, 2)
    assert all(after < before for before, after in zip(report.steps[0].residual_before, report.steps[0].residual_after))


@pytest.mark.parametrize("name", ["SD3", "Flux", "Z-Image"])
def test_odd_sides_are_rounded_up_to_whole_patches(bridge, built, name):
    """The features of an odd latent are those of the latent that core pads it to."""
    from comfy.ldm.common_dit import pad_to_patch_size

    def compare(denoiser, x):
        height, width = (side - 1 for side in x.shape[2:])
        odd = x[:, :, :height, :width]
        assert height % 2 and width % 2
        for layer in EVERY_LAYER[name]:
            denoiser = denoiser.at(layer)
            with torch.no_grad():
                features, padded = denoiser.features(odd, level_of(name)), denoiser.features(
                    pad_to_patch_size(odd, (2, 2)), level_of(name))
            assert features.shape[2:] == ((height + 1) // 2, (width + 1) // 2)
            torch.testing.assert_close(features, padded, rtol=1e-4, atol=1e-5)

    on_denoiser(bridge, built(name), name, compare)


def test_noise_laws_that_are_not_known_are_refused_by_name_or_number(bridge):
    import comfy.model_sampling as laws

    def message(schedule, law, **numbers):
        model = MODELS["SD1.5"].build()
        sampling = type("ModelSampling", (schedule, law), {})(model.model.model_config)
        for key, value in numbers.items():
            setattr(sampling, key, value)
        model.add_object_patch("model_sampling", sampling)
        with pytest.raises(ValueError) as error:
            bridge.parametrization_of(model)
        return str(error.value)

    assert message(laws.ModelSamplingDiscrete,
                   laws.IMG_TO_IMG).startswith("The noise law IMG_TO_IMG of this model is not supported")
    assert "law IMG_TO_IMG_FLOW" in message(laws.ModelSamplingDiscreteFlow, laws.IMG_TO_IMG_FLOW)
    assert "law V_PREDICTION_DDPM" in message(laws.ModelSamplingDiscrete, laws.V_PREDICTION_DDPM)
    assert "law COSMOS_RFLOW" in message(laws.ModelSamplingCosmosRFlow, laws.COSMOS_RFLOW)
    assert "scales its noise by 8 (noise_scale)" in message(laws.ModelSamplingDiscreteFlow, laws.CONST, noise_scale=8.0)
    assert "standard deviation 0.5 (sigma_data)" in message(laws.ModelSamplingContinuousEDM, laws.EDM, sigma_data=0.5)


def test_networks_that_are_not_in_the_table_are_refused_by_name(bridge, built):
    import comfy.ldm.lumina.model

    other = built("Lumina 2").clone()
    # A subclass of a known network whose blocks mean something else.
    other.add_object_patch("diffusion_model", object.__new__(comfy.ldm.lumina.model.NextDiTPixelSpace))
    for call in (bridge.layer_names, bridge.check_model):
        with pytest.raises(ValueError, match="This model is a NextDiTPixelSpace.*Stable Diffusion 3"):
            call(other)


def test_a_network_without_a_middle_block(bridge):
    model = MODELS["SD1.5"].build(transformer_depth_middle=-2)
    assert model.model.diffusion_model.middle_block is None
    assert bridge.resolve_layer(model, "auto") == "input_blocks.3" and "middle_block" not in bridge.layer_names(model)
    features = on_denoiser(bridge, model, "SD1.5", lambda denoiser, x: denoiser.features(x, 5.0))
    assert features.shape == (2, 64, 3, 2)


def test_models_that_take_a_picture_too_are_refused(bridge):
    model = MODELS["Flux"].build(in_channels=33)
    with pytest.raises(ValueError, match="takes 33 input channels.*latents have 16"):
        bridge.check_model(model)


def test_layers_that_another_node_has_bypassed(bridge, built):
    model = built("SD3").clone()
    model.set_model_patch_replace(lambda arguments, extra: {"img": arguments["img"], "txt": arguments["txt"]}, "dit",
                                  "double_block", 1)
    with pytest.raises(ValueError, match="joint_blocks.1 did not run"):
        on_denoiser(bridge, model, "SD3", lambda denoiser, x: denoiser.features(x, 0.7))
