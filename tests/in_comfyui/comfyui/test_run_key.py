"""Keys of runs: what a user sets changes them, and nothing else does, neither a run nor a restart."""
import copy
import functools
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from controls import controlled
from core_predictions import by_us, prompts, with_option
from patched_models import Steps, lora, with_control
from small_models import MODELS


@pytest.fixture
def key(bridge, unet):
    """The key of a run on a small U-Net, or on another MODEL, with this prompt."""
    def made(positive=None, model=None, **change):
        settings = {"algorithm": "alignment 1", "settings": {"seed": 1}, **change}
        return bridge.run_key(model or unet, settings["algorithm"], settings["settings"],
                              {"positive": positive or prompts()[0], "negative": prompts()[1]})
    return made


def test_what_a_run_depends_on(key):
    positive, negative = prompts()
    found = [key(), key(negative), key(settings={"seed": 2}), key(algorithm="alignment 2"),
             *(key(with_option(positive, **{name: value})) for name, value in (
                 ("start_percent", 0.5), ("start_percent", 0.25), ("end_percent", 0.5), ("guidance", 3.5),
                 ("unet_type", "a"), ("unet_type", "b"), ("pooled_output", torch.zeros(1, 4)),
                 ("pooled_output", torch.zeros(1, 5)), ("nested", {"values": [1, (2.0, True)]})))]
    assert len(set(found)) == len(found)
    assert found[0] == key(copy.deepcopy(positive))


def test_controlnets(bridge, unet, key):
    base = with_control()
    hint = base[0][1]["control"].cond_hint_original.clone()
    hint[0, 0, 3, 5] += 0.1
    other = with_control()
    with torch.inference_mode():
        other[0][1]["control"].control_model.middle_block_out[0].weight.mul_(1.001)
    before = with_control()[0][1]["control"]
    found = [key(), key(base), key(with_control(strength=0.9)), key(with_control(timestep_percent_range=(0.1, 1.0))),
             key(with_control(timestep_percent_range=(0.0, 0.9))), key(with_control(cond_hint_original=hint)),
             key(with_control(global_average_pooling=True)), key(with_control(previous_controlnet=before)), key(other),
             key(with_control(extra_concat_orig=[torch.ones(1, 1, 4, 4)])), key(with_control(extra_args={"type": 1})),
             key(controlled(prompts()[0], lora=True))]
    assert len(set(found)) == len(found)
    by_us(bridge, unet, base, prompts()[1], 4.0, 5.0, (4, 6, 4), "auto")
    assert key(base) == key(with_control()) == found[1], "a run changes no key"
    copied = with_option(prompts()[0], control=base[0][1]["control"].copy(), control_apply_to_uncond=True)
    assert key(copied) == found[1]


def test_patches_of_weights(bridge, unet, key):
    found = [key(), key(model=lora(unet)), key(model=lora(unet, 1.001)), key(model=lora(unet, strength=0.999)),
             key(model=lora(lora(unet)))]
    assert len(set(found)) == len(found)
    by_us(bridge, lora(unet), *prompts(), 4.0, 5.0, (4, 6, 4), "auto")
    # The weights are those of the LoRA now.
    assert key(model=lora(unet)) == found[1] and key() == found[0] == key(model=unet.clone())


@pytest.mark.parametrize("lora_type", [torch.float32, torch.float16])
def test_adapters_beside_layers(bridge, key, lora_type):
    """Those of LoraLoaderBypass, which changes no weight. A run moves and casts what is in them."""
    import comfy.sd

    model = MODELS["SD1.5"].build(torch.float32)
    layer = "diffusion_model.middle_block.1.proj_in"
    size, columns = model.model.get_submodule(layer).weight.shape[:2]

    def beside(value=1.0, strength=1.0, alpha=2.0):
        generator = torch.Generator().manual_seed(0)
        up, down = (torch.randn(shape, generator=generator) for shape in ((size, 2), (2, columns)))
        up[3, 1] *= value
        name = f"lora_unet_{layer.removeprefix('diffusion_model.').replace('.', '_')}"
        found = {"lora_up.weight": up, "lora_down.weight": down, "alpha": torch.tensor(alpha)}
        found = {f"{name}.{part}": value.to(lora_type) for part, value in found.items()}
        return comfy.sd.load_bypass_lora_for_models(model, None, found, strength, 0.0)[0]

    found = [key(model=each) for each in (model, beside(), beside(1.5), beside(strength=0.9), beside(alpha=1.0),
                                          lora(beside()))]
    assert len(set(found)) == len(found)
    assert found[1] == key(model=beside())
    used = beside()
    by_us(bridge, used, *prompts(), 4.0, 5.0, (4, 6, 4), "auto")
    assert key(model=used) == found[1], "a run changes no key"


def test_patches_of_models_by_cores_nodes(unet, key):
    from comfy_extras.nodes_freelunch import FreeU, FreeU_V2
    from comfy_extras.nodes_hypertile import HyperTile
    from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete, RescaleCFG
    from comfy_extras.nodes_slg import SkipLayerGuidanceDiT

    patches = [(SkipLayerGuidanceDiT, (3.0, 0.01, 0.15, "1", "")), (SkipLayerGuidanceDiT, (8.0, 0.01, 0.15, "1", "")),
               (SkipLayerGuidanceDiT, (3.0, 0.01, 0.15, "0", "")), (SkipLayerGuidanceDiT, (3.0, 0.02, 0.15, "1", "")),
               (RescaleCFG, (0.7,)), (RescaleCFG, (0.6,)), (ModelSamplingDiscrete, ("v_prediction", False)),
               (ModelSamplingDiscrete, ("v_prediction", True)),
               (HyperTile, (256, 2, 0, False)), (HyperTile, (128, 2, 0, False)),
               (FreeU, (1.1, 1.2, 0.9, 0.2)), (FreeU, (1.11, 1.2, 0.9, 0.2)), (FreeU, (1.1, 1.2, 0.9, 0.21)),
               (FreeU_V2, (1.3, 1.4, 0.9, 0.2)), (FreeU_V2, (1.31, 1.4, 0.9, 0.2)), (FreeU_V2, (1.3, 1.4, 0.9, 0.21))]

    def patched(node, values):
        function = getattr(node, "execute", None) or getattr(node(), node.FUNCTION)
        found = function(unet, *values)
        return getattr(found, "args", found)[0]

    found, again = ([key(model=patched(*patch)) for patch in patches] for _ in range(2))
    assert found == again and len({key(), *found}) == len(found) + 1


def test_a_key_is_the_same_after_a_run_with_cores_patches(bridge, key):
    """A model stays loaded with another law of noise, which is then one of its own parts."""
    from comfy_extras.nodes_freelunch import FreeU
    from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete

    plain = MODELS["SD1.5"].build()
    for patched in (ModelSamplingDiscrete().patch(plain, "v_prediction", True)[0],
                    FreeU.execute(plain, 1.1, 1.2, 0.9, 0.2).args[0]):
        before = key(model=plain), key(model=patched)
        by_us(bridge, patched, *prompts(), 4.0, 5.0, (4, 6, 4), "auto")
        assert (key(model=plain), key(model=patched)) == before and before[0] != before[1]


def test_patches_without_settings(unet, key):
    """Nothing but their functions tells them apart; asked, a model in half precision with a LoRA may not."""
    from comfy_extras.nodes_cfg import CFGZeroStar
    from comfy_extras.nodes_mahiro import Mahiro
    from comfy_extras.nodes_tcfg import TCFG

    found, again = ([key(model=node.execute(unet).args[0]) for node in (CFGZeroStar, Mahiro, TCFG)] for _ in range(2))
    assert found == again and len({key(), *found}) == 4
    functions = [lambda arguments: arguments["denoised"] * 0.5,
                 lambda arguments: arguments["denoised"] * 0.6, torch.nn.functional.silu, torch.sin, torch.Tensor.sin,
                 np.sin, np.cos, functools.cache(scaled), functools.cache(by_itself), Softer(), Harder(), Odd(),
                 types.MethodType(functools.cache(scaled), 1), types.MethodType(functools.partial(scaled, scale=2), 1)]
    for function in functions:
        patched = unet.clone()
        patched.set_model_sampler_post_cfg_function(function)
        found.append(key(model=patched))
        assert key(model=patched.clone()) == found[-1]
    assert len({key(), *found}) == 4 + len(functions)


def by_itself(arguments):
    return arguments["denoised"]


class Odd:
    """As some packs' objects are, which look up whatever they are asked for."""

    __module__ = 5

    def __getattr__(self, name):
        raise RuntimeError(name)

    def __call__(self, arguments):
        return arguments["denoised"]


class Softer:
    def __call__(self, arguments):
        return arguments["denoised"] * 0.9


class Harder(Softer):
    def __call__(self, arguments):
        return arguments["denoised"] * 1.1


def hooked(unet, strength, weight=1.0, strengths=()):
    """A prompt with a LoRA for it alone, as core's hook nodes make it, whose strength changes along sampling."""
    import comfy.hooks

    layer = "diffusion_model.middle_block.1.proj_in.weight"
    group = comfy.hooks.create_hook_lora({}, strength, 0.0)
    group.hooks[0].weights = {layer: (weight * torch.ones(unet.model.get_parameter(layer).shape),)}
    group.hooks[0].need_weight_init = False
    keyframes = comfy.hooks.HookKeyframeGroup()
    for start, factor in strengths:
        keyframes.add(comfy.hooks.HookKeyframe(factor, start_percent=start))
    group.set_keyframes_on_hooks(keyframes if strengths else None)
    return with_option(prompts()[0], hooks=group)


def test_hooks_of_prompts(bridge, key):
    model = MODELS["SD1.5"].build()
    ways = [(0.2,), (0.3,), (0.2, 1.1), (0.2, 1.0, [(0.0, 1.0)]), (0.2, 1.0, [(0.0, 0.5)]),
            (0.2, 1.0, [(0.0, 0.5), (0.5, 1.0)]), (0.2, 1.0, [(0.0, 0.5), (0.6, 1.0)])]
    found = [key(hooked(model, *way), model=model) for way in ways]
    assert len({key(model=model), *found}) == len(found) + 1
    used = hooked(model, *ways[-1])
    by_us(bridge, model, used, prompts()[1], 4.0, 5.0, (4, 6, 4), "auto")
    assert key(used, model=model) == found[-1] == key(hooked(model, *ways[-1]), model=model), "a run changes no key"


def test_pictures_that_a_clip_vision_has_encoded(key):
    import comfy.clip_vision
    import nodes

    def seen(value):
        output = comfy.clip_vision.Output()
        output.image_embeds = torch.full((1, 8), value)
        return nodes.unCLIPConditioning().apply_adm(prompts()[0], output, 1.0, 0.0)[0]

    assert key(seen(1.0)) == key(seen(1.0)) != key(seen(2.0))


def test_arrays(key):
    found = [key(with_option(prompts()[0], values=values)) for values in (
        np.zeros(3), np.ones(3), np.zeros(3, np.float32), np.float64(1.0), np.float64(2.0), np.zeros((1, 3)),
        np.array([None]), np.array([1, "a"], object), np.array([2, "a"], object))]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("pack", ["another_pack", "mental_averages_push"])
def test_what_is_wrapped_around_a_model_counts(unet, key, pack):
    import comfy.patcher_extension

    def wrapped(strength):
        def wrapper(executor, *given, **options):
            return executor(*given, **options) * strength

        model = unet.clone()
        model.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL, pack, wrapper)
        return model

    assert key(model=wrapped(1.0)) == key(model=wrapped(1.0)) != key(model=wrapped(1.01))


def test_near_checkpoints(key):
    first, second = (MODELS["SD1.5"].build(torch.bfloat16) for _ in range(2))
    assert key(model=first) == key(model=second)
    with torch.inference_mode():
        second.model.diffusion_model.middle_block[0].in_layers[2].weight.mul_(1.01)
    assert key(model=first) != key(model=second)


def counting(scale):
    count, cache, history = 0, {}, []

    def patch(arguments):
        nonlocal count
        count += 1
        cache[count] = torch.ones(3)
        history.append(scale)
        return arguments["denoised"]

    return patch


def seen_by_another(scale):
    """Two functions, of which one keeps what the other reads, as core's self-attention guidance has them."""
    seen = None

    def record(arguments):
        nonlocal seen
        seen = arguments["denoised"]

    def patch(arguments):
        record(arguments)
        return seen * scale

    return patch, record


def scaled(arguments, scale):
    return arguments["denoised"] * scale


def remembering(arguments, settings, seen, order):
    seen[len(seen)] = settings["scale"] + sum(order)
    return arguments["denoised"] * settings["scale"]


class Remembering:
    def patch(self, seen, settings, arguments):
        seen.append(settings.get("scale"))
        return arguments["denoised"]


def scaled_by(scale):
    return lambda arguments, factor=scale: factor * arguments["denoised"]


@pytest.mark.parametrize("kind", ["object", "method", "closure", "partial", "default", "partial state",
                                  "partial method"])
def test_settings_of_patches_count_and_their_states_do_not(unet, key, kind):
    def patch(scale):
        return {"object": lambda: Steps(scale, patched), "method": lambda: Steps(scale, patched).__call__,
                "closure": lambda: counting(scale), "partial": lambda: functools.partial(scaled, scale=scale),
                "default": lambda: scaled_by(scale),
                "partial state": lambda: functools.partial(remembering, settings={"scale": scale}, seen={},
                                                           order=[1.0]),
                "partial method": lambda: functools.partial(Remembering().patch, [], {"scale": scale})}[kind]()

    keys = []
    for scale in (2.0, 3.0):
        patched = unet.clone()
        function = patch(scale)
        patched.set_model_sampler_post_cfg_function(function)
        keys.append(key(model=patched))
        function({"denoised": torch.ones(1)})
        assert key(model=patched) == keys[-1], "the same after a run"
    assert len({key(), *keys}) == 3


@pytest.mark.parametrize("reader_first", [True, False])
def test_what_one_function_keeps_for_another_does_not_count(unet, key, reader_first):
    keys = []
    for scale in (2.0, 3.0):
        patched, functions = unet.clone(), seen_by_another(scale)
        for function in functions if reader_first else functions[::-1]:
            patched.set_model_sampler_post_cfg_function(function)
        keys.append(key(model=patched))
        functions[0]({"denoised": torch.ones(1)})
        assert key(model=patched) == keys[-1], "the same after a run"
    assert len({key(), *keys}) == 3


def test_a_key_is_the_same_after_a_run_with_self_attention_guidance(bridge, key):
    from comfy_extras.nodes_sag import SelfAttentionGuidance

    patched, other = (SelfAttentionGuidance.execute(MODELS["SD1.5"].build(), scale, 2.0).args[0]
                      for scale in (0.5, 0.6))
    before = key(model=patched)
    by_us(bridge, patched, *prompts(), 4.0, 5.0, (4, 8, 8), "auto")
    assert key(model=patched) == before != key(model=other)


def handing_on(settings, arguments):
    return scaled(**settings, arguments=arguments)


def blended(settings, arguments):
    return blend(settings, arguments)


def blend(settings, arguments):
    return settings["strength"] * arguments["denoised"] + settings["embedding"]


@pytest.mark.parametrize("function, settings, others", [
    (blended, {"strength": 0.3, "embedding": torch.zeros(2)}, {"strength": 0.9, "embedding": torch.zeros(2)}),
    (blended, {"strength": 0.3, "embedding": torch.zeros(2)}, {"strength": 0.3, "embedding": torch.ones(2)}),
    (blend, {"strength": 0.3, "embedding": torch.zeros(2)}, {"strength": 0.3, "embedding": torch.ones(2)}),
    (handing_on, {"scale": 0.3}, {"scale": 0.9}),
])
def test_what_a_partial_function_hands_on_or_looks_up_counts(unet, key, function, settings, others):
    keys = []
    for given in (settings, settings, others):
        patched = unet.clone()
        patched.set_model_sampler_post_cfg_function(functools.partial(function, given))
        keys.append(key(model=patched))
    assert keys[0] == keys[1] != keys[2]


def test_patches_that_hold_each_other(unet, key):
    first, second = Steps(1.0, None), Steps(2.0, None)
    first.model, second.model = second, first
    patched = unet.clone()
    patched.set_model_sampler_post_cfg_function(first)
    patched.set_attachments("loop", second)
    assert key(model=patched) == key(model=patched) != key()


def test_keys_are_those_of_the_next_start(bridge):
    """Nothing in a key is where something lies in memory, or in what order a set is gone through."""
    model = lora(MODELS["SD1.5"].build())
    model.set_model_sampler_post_cfg_function(Steps(2.0, model))
    here = bridge.run_key(model, "a", {}, {"positive": with_control()})
    tests = Path(__file__).resolve().parents[2]
    program = f"""
import sys
for folder in {[str(tests.parent / "tools"), str(tests / "support")]!r}:
    sys.path.insert(0, folder)
import pack
pack.load_pack(); pack.load_comfyui()
from patched_models import lora, with_control, Steps
from core_predictions import prompts
from small_models import MODELS
from mental_averages.nodes import comfyui
model = lora(MODELS["SD1.5"].build())
model.set_model_sampler_post_cfg_function(Steps(2.0, model))
print("KEY", comfyui.run_key(model, "a", {{}}, {{"positive": with_control()}}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False,
                          env={**os.environ, "PYTHONHASHSEED": "1"}, timeout=600)
    assert f"KEY {here}" in done.stdout, done.stderr[-3000:]


def test_large_tensors_and_those_of_quantised_checkpoints(unet, key):
    class Quantised(torch.Tensor):
        pass

    large, patched = torch.zeros(2**24 + 5), []
    for value in (large, large + 1, torch.zeros(4).as_subclass(Quantised), torch.zeros(4, device="meta"),
                  torch.zeros(3, dtype=torch.bfloat16), torch.zeros(3, dtype=torch.float8_e4m3fn)):
        model = unet.clone()
        model.model_options["transformer_options"]["value"] = value
        patched.append(model)
    found = [key(model=model) for model in patched]
    assert found == [key(model=model) for model in patched] and len(set(found)) == 5  # two have no values to read


def test_pictures_count_as_a_whole(key):
    """However large they are: one value of a hint, a latent or a patch's picture is another picture."""
    size, place = (1, 3, 2400, 2400), (0, 1, 7, 1001)
    one, other = (torch.zeros(size) for _ in range(2))
    other[place] = 1.0
    assert one.numel() > 2**24
    assert len({key(with_control(cond_hint_original=picture)) for picture in (one, other)}) == 2
    assert len({key(with_option(prompts()[0], concat_latent_image=picture)) for picture in (one, other)}) == 2


def test_two_functions_of_which_one_writes_what_the_other_reads(unet, key):
    table, seen = {"scale": 2.0}, {"steps": 0}

    def reading(arguments):
        return arguments["denoised"] * table["scale"] * (1 + seen["steps"])

    def writing(arguments):
        seen["steps"] += 1
        return arguments["denoised"]

    patched = unet.clone()
    for function in (reading, writing):
        patched.set_model_sampler_post_cfg_function(function)
    before = key(model=patched)
    writing({"denoised": 1})
    assert key(model=patched) == before
    table["scale"] = 3.0
    assert key(model=patched) != before


def test_every_small_model_has_a_key(bridge, built):
    for name in MODELS:
        found = [bridge.run_key(built(name), "a", {}, {"positive": prompts(name)[0]}) for _ in range(2)]
        assert found[0] == found[1]
