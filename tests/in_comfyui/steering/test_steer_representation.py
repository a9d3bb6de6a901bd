"""SteerRepresentation on every architecture, against core's own patch points and the equations."""
import pytest
import torch
from small_models import MODELS

from mental_averages.dma.steering import Direction, LayerDirection

STEPS, SEED, CFG = 5, 3, 4.0
SHAPES = {"SD1.5": (4, 8, 8), "SDXL": (4, 8, 8), "SD3": (16, 8, 8), "Flux": (16, 8, 8), "Qwen-Image": (16, 8, 8)}


def direction(model, layers, seed=0, size=1.0):
    """A random direction (C,) at each of some layers of a MODEL."""
    from mental_averages.nodes import comfyui

    places = comfyui.places(model.model.diffusion_model)
    vectors = {layer: size * torch.randn(places[layer].width, generator=torch.Generator().manual_seed(seed))
               for layer in layers}
    return Direction({layer: LayerDirection(vector, 1.0, 1.0, 1.0, 1.0) for layer, vector in vectors.items()},
                     "difference", 2, 2)


def steered(model, towards, strength=0.7, layers="", start=0.0, end=1.0, branch="both"):
    from mental_averages.nodes.steering import SteerRepresentation

    with torch.inference_mode():
        return SteerRepresentation.execute(model, towards, strength, layers, start, end, branch).args[0]


def texts(name="SD1.5"):
    return MODELS[name].conditioning(1), MODELS[name].conditioning(2)


def ksampler(model, name="SD1.5", count=2, sampler="euler", cfg=CFG, steps=STEPS, scheduler="normal"):
    import nodes

    with torch.inference_mode():
        return nodes.common_ksampler(model, SEED, steps, cfg, sampler, scheduler, *texts(name),
                                     {"samples": torch.zeros(count, *SHAPES[name])})[0]["samples"]


def by_core(model, name, layer, vector, strength=0.7, sides=(0, 1), steps=range(STEPS),
            scheduler="normal"):
    """The same by core's own patch points, which know one place of a network each."""
    model = model.clone()
    taken = model.get_model_object("model_sampling")
    import comfy.samplers

    levels = comfy.samplers.calculate_sigmas(taken, scheduler, STEPS)

    def change(options, like, rows):
        step = int((levels[:-1] - options["sigmas"][0]).abs().argmin())
        side = torch.tensor([float(each in sides and step in steps) for each in options["cond_or_uncond"]])
        return side.repeat_interleave(rows // len(side)).view(-1, *[1] * (like.ndim - 1)) * strength * vector.view(
            *([1, -1, 1, 1] if like.ndim == 4 else [1, 1, -1]))

    if layer == "middle_block":
        model.set_model_middle_block_after_patch(lambda found: {
            **found, "h": found["h"] + change(found["transformer_options"], found["h"], len(found["h"]))})
    elif layer.startswith("input_blocks"):
        number = int(layer.split(".")[1])
        # Whatever runs here also leaves for the other side of the network, where features of this layer go as well.
        model.set_model_input_block_patch(lambda h, options: h + change(options, h, len(h))
                                          if options["block"] == ("input", number) else h)
    else:
        kind, number = layer.split(".")

        def replace(arguments, extra):
            found = extra["original_block"](arguments)
            moved = found["img"] + change(arguments["transformer_options"], found["img"], len(found["img"]))
            if kind == "single_blocks":
                moved[:, :7] = found["img"][:, :7]  # the text's tokens
            return {**found, "img": moved}

        model.set_model_patch_replace(replace, "dit", kind.removesuffix("s"), number := int(number))
        if kind == "joint_blocks":
            model.set_model_patch_replace(replace, "dit", "double_block", number)
    return model


@pytest.mark.parametrize("name", list(MODELS))
def test_features_of_every_layer_of_every_network_are_shifted_by_the_direction(bridge, built, name):
    """Where a layer is read it is steered already, everywhere in the image, and its width is what the table says."""
    model, small = built(name), MODELS[name]
    shape = (model.model.latent_format.latent_channels, *small.size)
    level = 0.7 if small.parametrization == "flow" else 5.0
    x = level * torch.randn((2, *shape), generator=torch.Generator().manual_seed(0))

    def read(model, layer):
        found = []
        bridge.with_denoiser(model, small.conditioning(1), small.conditioning(2), 1.0, torch.tensor([level, 0.0]),
                             shape, 0, lambda denoiser: found.append(denoiser.features(x, level)), layer=layer)
        return found[0]

    for layer in bridge.layer_names(model):
        towards = direction(model, [layer])
        plain, moved = read(model, layer), read(steered(model, towards), layer)
        expected = plain + 0.7 * towards.layers[layer].vector[None, :, None, None]
        assert plain.shape[1] == len(towards.layers[layer].vector)
        torch.testing.assert_close(moved, expected, rtol=1e-4, atol=1e-4 * plain.abs().max().item())


@pytest.mark.parametrize("name, layer", [
    ("SD1.5", "middle_block"), ("SD1.5", "input_blocks.1"), ("SDXL", "middle_block"), ("SDXL", "input_blocks.3"),
    ("SD3", "joint_blocks.0"), ("Flux", "double_blocks.1"), ("Flux", "single_blocks.0")])
@pytest.mark.parametrize("branch, sides", [("both", (0, 1)), ("conditional", (0,))])
def test_samples_equal_those_of_cores_patch_points(built, name, layer, branch, sides):
    model = built(name)
    towards = direction(model, [layer])
    vector = towards.layers[layer].vector
    found = ksampler(steered(model, towards, branch=branch), name)
    expected = ksampler(by_core(model, name, layer, vector, sides=sides), name)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    assert (found - ksampler(model, name)).abs().max() > 1e-2


@pytest.mark.parametrize("name, layer", [("SD1.5", "middle_block"), ("SD3", "joint_blocks.0")])
@pytest.mark.parametrize("start, end", [(0.0, 0.4), (0.3, 0.7), (0.6, 1.0)])
def test_only_the_chosen_part_of_sampling_is_steered(built, name, layer, start, end):
    model = built(name)
    law = model.get_model_object("model_sampling")
    import comfy.samplers

    levels = comfy.samplers.calculate_sigmas(law, "normal", STEPS)[:-1]
    steps = [step for step, level in enumerate(levels)
             if law.percent_to_sigma(end) <= level <= law.percent_to_sigma(start)]
    assert 0 < len(steps) < STEPS
    towards = direction(model, [layer])
    found = ksampler(steered(model, towards, start=start, end=end), name)
    expected = ksampler(by_core(model, name, layer, towards.layers[layer].vector, steps=steps), name)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_the_first_step_of_a_shifted_schedule_is_steered(built):
    """Its noise level is a rounding above what core calls the start."""
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    model, layer = ModelSamplingSD3().patch(built("SD3"), 2.66)[0], "joint_blocks.0"
    towards, law = direction(model, [layer]), model.get_model_object("model_sampling")
    assert law.sigmas[-1].item() > law.percent_to_sigma(0.0)
    expected, without_first = (ksampler(by_core(model, "SD3", layer, towards.layers[layer].vector, steps=steps,
                                                scheduler="simple"), "SD3", scheduler="simple")
                               for steps in (range(STEPS), range(1, STEPS)))
    found = ksampler(steered(model, towards), "SD3", scheduler="simple")
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    assert (found - without_first).abs().max() > 1e-2


def test_strength_0_is_the_model_to_the_last_bit(built, bridge):
    for name, layer in (("SD1.5", "middle_block"), ("SD3", "joint_blocks.1")):
        model = built(name)
        same = steered(model, direction(model, [layer]), 0.0)
        assert same is not model and torch.equal(ksampler(same, name), ksampler(model, name))
        assert bridge.run_key(same, "a", {}, {}) == bridge.run_key(model, "a", {}, {})


def test_directions_add_up_whatever_the_order_of_their_nodes(built):
    model = built("SD1.5")
    one, two = (direction(model, ["middle_block"], seed) for seed in (1, 2))
    both = Direction({"middle_block": LayerDirection(
        0.7 * one.layers["middle_block"].vector - 0.3 * two.layers["middle_block"].vector, 1.0, 1.0, 1.0, 1.0)},
        "difference", 2, 2)
    expected = ksampler(steered(model, both, 1.0))
    for first, second in (((one, 0.7), (two, -0.3)), ((two, -0.3), (one, 0.7))):
        torch.testing.assert_close(ksampler(steered(steered(model, *first), *second)), expected, rtol=1e-3, atol=1e-3)
    back = steered(steered(model, one, 0.7), one, -0.7)
    torch.testing.assert_close(ksampler(back), ksampler(model), rtol=1e-3, atol=1e-3)


def test_layers_of_a_direction_are_steered_together_or_chosen(built):
    model = built("SD1.5")
    names = ["middle_block", "output_blocks.0", "output_blocks.1"]
    towards = direction(model, names)
    apart = model
    for layer in names:
        apart = steered(apart, towards, layers=layer)
    torch.testing.assert_close(ksampler(steered(model, towards)), ksampler(apart), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(ksampler(steered(model, towards, layers="output_blocks")),
                               ksampler(steered(model, direction(model, names[1:]))), rtol=1e-3, atol=1e-3)
    chosen = ksampler(steered(model, towards, layers="middle_block"))
    assert torch.equal(chosen, ksampler(steered(model, Direction(
        {"middle_block": towards.layers["middle_block"]}, "difference", 2, 2))))


def test_sides_that_are_evaluated_apart_are_steered_as_together(built, monkeypatch):
    import comfy.model_base

    model = built("SD1.5")
    patched = steered(model, direction(model, ["middle_block"]), branch="conditional")
    together = ksampler(patched)
    monkeypatch.setattr(comfy.model_base.BaseModel, "memory_required", lambda self, *args, **kwargs: 1e30)
    torch.testing.assert_close(ksampler(patched), together, rtol=1e-3, atol=1e-3)


def test_it_goes_with_other_patches_in_any_order(built):
    from comfy_extras.nodes_freelunch import FreeU_V2

    from mental_averages.nodes.metrics import RecordPredictions
    from mental_averages.nodes.steering import TypicalityGuidance

    model = built("SD1.5")
    towards = direction(model, ["middle_block"])
    average = {"samples": torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(5))}
    for change in (lambda model: TypicalityGuidance.execute(model, average, 0.3, 0.0, 0.4).args[0],
                   lambda model: FreeU_V2.execute(model, 1.3, 1.4, 0.9, 0.2).args[0],
                   lambda model: RecordPredictions.execute(model, 2).args[0]):
        with torch.inference_mode():
            found = [ksampler(each) for each in (change(steered(model, towards)), steered(change(model), towards))]
            plain = ksampler(change(model))
        torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)
        assert (found[0] - plain).abs().max() > 1e-2


def test_nothing_is_left_of_a_sampling_that_ends_well_or_not(built):
    model = built("SD1.5")
    plain = ksampler(model)
    hooks = [len(module._forward_hooks) for module in model.model.modules()]
    patched = steered(model, direction(model, ["middle_block"]))
    ksampler(patched)
    stopping = patched.clone()

    def stop(found):
        raise KeyboardInterrupt

    stopping.set_model_output_block_patch(lambda h, skip, options: stop(h))
    with pytest.raises(KeyboardInterrupt):
        ksampler(stopping)
    assert [len(module._forward_hooks) for module in model.model.modules()] == hooks
    assert torch.equal(ksampler(model), plain)


def test_gradients_go_through_it(built, bridge):
    from alignments import align

    from mental_averages.dma.models import check_gradient

    model = built("SD1.5")
    patched = steered(model, direction(model, ["input_blocks.1", "middle_block"]))
    sigmas = bridge.sigmas_of(model, "normal", STEPS)
    for save_memory in (False, True):
        error = bridge.with_denoiser(patched, *texts(), 1.0, sigmas, (4, 8, 8), 0, lambda denoiser: check_gradient(
            denoiser, (4, 8, 8), sigmas[0].item()), save_memory=save_memory)
        assert error < 1e-2
    aligned = align(patched, texts())
    assert aligned.isfinite().all() and (aligned - align(model, texts())).abs().max() > 1e-2


def test_what_it_is_made_of_is_in_the_keys_of_runs(built, bridge):
    model = built("SD1.5")
    one = direction(model, ["middle_block", "output_blocks.0"])
    changes = [{}, dict(strength=0.71), dict(layers="middle_block"), dict(start=0.1), dict(end=0.9),
               dict(branch="conditional"), dict(towards=direction(model, ["middle_block", "output_blocks.0"], 1))]
    keys = [bridge.run_key(steered(model, **{"towards": one, **change}), "a", {}, {}) for change in changes]
    again = [bridge.run_key(steered(model, **{"towards": one, **change}), "a", {}, {}) for change in changes]
    assert keys == again and len({*keys, bridge.run_key(model, "a", {}, {})}) == len(changes) + 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype, bridge):
    """In core's way, weights in half, and everything in half."""
    for manual_cast in (torch.float32, None):
        model = MODELS["SD1.5"].build(dtype=dtype, manual_cast=manual_cast)
        towards = direction(model, ["middle_block"])
        if manual_cast is None and dtype is torch.float16:
            continue  # convolutions in half are not on every processor
        found = ksampler(steered(model, towards))
        exact = ksampler(steered(MODELS["SD1.5"].build(), towards))
        assert found.isfinite().all() and ((found - exact).norm() / exact.norm()) < 0.15
        assert (found - ksampler(model)).abs().max() > 1e-2


def test_what_half_precision_cannot_hold_is_refused(built, bridge):
    """100 000 in fp16 would be infinity, and the sample NaN."""
    place = bridge.places(built("SD1.5").model.diffusion_model)["middle_block"]
    steering, features = bridge.Steering({}, 1000.0, 0.0, 1.0, False), torch.zeros(1, place.width, 1, 1)

    def steer(dtype):
        return steering.steer(None, (), features.to(dtype), place=place, size=(8, 8),
                              vector=torch.full((place.width,), 100.0), rows=torch.ones(1, dtype=torch.bool))

    with pytest.raises(ValueError, match=r"adds up to 1e\+05 to the features, which this model holds in half"):
        steer(torch.float16)
    assert steer(torch.bfloat16).isfinite().all() and (steer(torch.float32) == 1e5).all()


def test_a_compiled_network_is_refused(built):
    from comfy.patcher_extension import WrappersMP
    from comfy_api.torch_helpers.torch_compile import COMPILE_KEY

    model = built("SD1.5").clone()
    model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, COMPILE_KEY,
                               lambda executor, *arguments, **options: executor(*arguments, **options))
    with pytest.raises(ValueError, match="without TorchCompileModel"):
        ksampler(steered(model, direction(model, ["middle_block"])))


def guided(model, guider, **options):
    """A sampling by one of core's guiders with two prompts and a negative one."""
    import comfy_extras.nodes_custom_sampler as core

    from mental_averages.nodes import comfyui

    with torch.inference_mode():
        positive, negative = texts()
        guider = getattr(core, guider).execute(model, positive, MODELS["SD1.5"].conditioning(3), negative, 3.0, 2.0,
                                               **options).args[0]
        return core.SamplerCustomAdvanced.execute(
            core.RandomNoise.execute(SEED).args[0], guider, core.KSamplerSelect.execute("euler").args[0],
            comfyui.sigmas_of(model, "normal", STEPS), {"samples": torch.zeros(1, 4, 8, 8)}).args[0]["samples"]


@pytest.mark.parametrize("style", ["regular", "nested"])
def test_the_side_that_a_dual_guider_asks_for_first_is_not_taken_for_the_positive_one(built, style):
    model = built("SD1.5")
    towards = direction(model, ["middle_block"])
    with pytest.raises(ValueError, match="choose the branch both"):
        guided(steered(model, towards, branch="conditional"), "DualCFGGuider", style=style)
    found = guided(steered(model, towards), "DualCFGGuider", style=style)
    expected = guided(by_core(model, "SD1.5", "middle_block", towards.layers["middle_block"].vector, sides=(0, 1, 2)),
                      "DualCFGGuider", style=style)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_a_negative_prompt_that_another_node_asks_for_alone_is_not_steered(built):
    """SelfAttentionGuidance asks for the negative prompt alone, PerpNeg for one of its own: core then calls it the
    first side."""
    from comfy_extras.nodes_perpneg import PerpNeg

    model = built("SD1.5")
    towards = direction(model, ["middle_block"])
    empty = MODELS["SD1.5"].conditioning(3)

    def alone(arguments):
        import comfy.samplers

        negative, = comfy.samplers.calc_cond_batch(arguments["model"], [arguments["uncond"]], arguments["input"],
                                                   arguments["sigma"], arguments["model_options"])
        return arguments["denoised"] + 0.5 * (arguments["uncond_denoised"] - negative)

    with_alone = model.clone()
    with_alone.set_model_sampler_post_cfg_function(alone)
    found = ksampler(steered(with_alone, towards, branch="conditional"))
    torch.testing.assert_close(found, ksampler(steered(model, towards, branch="conditional")), rtol=1e-3, atol=1e-3)

    def only_the_first(model):
        """Steering by core's patch points of what is asked for on two sides at once, and nothing else."""
        patched = by_core(model, "SD1.5", "middle_block", towards.layers["middle_block"].vector, sides=(0,))
        change, = patched.model_options["transformer_options"]["patches"]["middle_block_after_patch"]
        patched = model.clone()
        patched.set_model_middle_block_after_patch(
            lambda found: change(found) if len(found["transformer_options"]["cond_or_uncond"]) == 2 else found)
        return patched

    torch.testing.assert_close(
        ksampler(PerpNeg.execute(steered(model, towards, branch="conditional"), empty, 1.0).args[0], count=1),
        ksampler(PerpNeg.execute(only_the_first(model), empty, 1.0).args[0], count=1), rtol=1e-3, atol=1e-3)


def test_a_reference_picture_is_not_steered_in_place_of_the_sample(built):
    import node_helpers
    import nodes

    model, shape = built("Flux"), SHAPES["Flux"]
    reference = torch.randn(1, *shape, generator=torch.Generator().manual_seed(9))

    def sampled(model):
        with torch.inference_mode():
            prompts = [node_helpers.conditioning_set_values(each, {"reference_latents": [reference]})
                       for each in texts("Flux")]
            return nodes.common_ksampler(model, SEED, STEPS, CFG, "euler", "normal", *prompts,
                                         {"samples": torch.zeros(1, *shape)})[0]["samples"]

    with pytest.raises(ValueError, match="cannot be told from a reference picture"):
        sampled(steered(model, direction(model, ["double_blocks.0", "single_blocks.1"])))
    towards = direction(model, ["double_blocks.1"])
    vector, tokens = towards.layers["double_blocks.1"].vector, shape[1] * shape[2] // 4

    def replace(arguments, extra):
        found = extra["original_block"](arguments)
        moved = found["img"].clone()
        moved[:, :tokens] += 0.7 * vector
        return {**found, "img": moved}

    patched = model.clone()
    patched.set_model_patch_replace(replace, "dit", "double_block", 1)
    torch.testing.assert_close(sampled(steered(model, towards)), sampled(patched), rtol=1e-3, atol=1e-3)


def test_bad_inputs_are_refused_at_once(built):
    model, other = built("SD1.5"), built("SD3")
    towards = direction(model, ["middle_block", "output_blocks.0"])
    wide = Direction({"middle_block": LayerDirection(torch.ones(1280), 1.0, 1.0, 1.0, 1.0)}, "unit", 2, 2)
    broken = Direction({"middle_block": LayerDirection(towards.layers["middle_block"].vector * torch.nan, 1.0, 1.0, 1.0,
                                                       1.0)}, "unit", 2, 2)
    for arguments, change, complaint in (
            ((other, towards), {}, "layer middle_block, which this model has not: .* joint_blocks.0"),
            ((model, wide), {}, "1280 channels at the layer middle_block, which has 64"),
            ((model, broken), {}, "NaN or infinity at the layer middle_block"),
            ((model, towards), dict(layers="joint_blocks"), "fits 'joint_blocks'"),
            ((model, towards), dict(start=0.5, end=0.5), "end_percent above start_percent"),
            ((model, towards), dict(strength=float("nan")), "strength"), ((model, None), {}, "direction is none"),
            ((model, towards), dict(branch="none"), "branch"), ((model, towards), dict(end=1.5), "end_percent")):
        with pytest.raises(ValueError, match=complaint):
            steered(*arguments, **change)
