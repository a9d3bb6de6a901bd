"""The identity of weights: near checkpoints have others, and one checkpoint has one, however it is loaded."""
import copy

import pytest
import torch
from core_predictions import by_us, prompts
from patched_models import lora
from small_models import MODELS
from torch import nn

LAYER = "diffusion_model.middle_block.0.in_layers.2.weight"


@pytest.fixture
def identity(bridge):
    from mental_averages.nodes.comfyui import _weights

    return lambda patcher: _weights.identity_of(patcher.model, _weights.originals_of(patcher))


def changed(dtype, change):
    """A checkpoint whose weights are the small one's, each as `change` gives it of its name and itself."""
    patcher = MODELS["SD1.5"].build(dtype)
    with torch.inference_mode():
        for name, value in patcher.model.diffusion_model.named_parameters():
            value.copy_(change(f"diffusion_model.{name}", value))
    return patcher


def merged(dtype, share):
    generator = torch.Generator().manual_seed(1)
    return changed(dtype, lambda name, value: torch.lerp(
        value.float(), value.float().std(correction=0) * torch.randn(value.shape, generator=generator), share))


def with_low_rank(dtype, share):
    generator = torch.Generator().manual_seed(2)

    def change(name, value):
        if name != LAYER:
            return value
        down = torch.randn(1, value[0].numel(), generator=generator)
        return value + share * value.std() * (torch.randn(len(value), 1, generator=generator) @ down).view_as(value)

    return changed(dtype, change)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_near_checkpoints_are_told_apart(comfyui, identity, dtype):
    found = [identity(MODELS["SD1.5"].build(dtype)), identity(merged(dtype, 0.01)), identity(merged(dtype, 0.02)),
             identity(with_low_rank(dtype, 0.02)), identity(with_low_rank(dtype, 0.04))]
    assert len(set(found)) == len(found) and identity(merged(dtype, 0.0)) == found[0]


def test_a_part_of_a_joined_layer(comfyui, identity):
    """Of queries, keys and values in one matrix, one third alone is changed."""
    def third(index):
        def change(name, value):
            value = value.clone()
            if name == LAYER:
                part = len(value) // 3
                value[index * part: (index + 1) * part] += 0.1
            return value
        return changed(torch.bfloat16, change)

    plain = identity(MODELS["SD1.5"].build(torch.bfloat16))
    assert len({plain, *(identity(third(index)) for index in range(3))}) == 4


def test_a_cast_is_told_apart(comfyui, identity):
    found = [identity(MODELS["SD1.5"].build(dtype)) for dtype in (torch.float32, torch.float16, torch.bfloat16)]
    assert len(set(found)) == 3


def test_patches_that_are_in_the_weights_just_now(bridge, identity):
    from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete

    unet = MODELS["SD1.5"].build()
    before = identity(unet)
    replaced, block = unet.clone(), copy.deepcopy(unet.model.diffusion_model.middle_block[0])
    block.in_layers[2].weight.data.mul_(1.1)
    replaced.add_object_patch("diffusion_model.middle_block.0", block)
    for patched in (lora(unet), ModelSamplingDiscrete().patch(unet, "v_prediction", True)[0], replaced):
        by_us(bridge, patched, *prompts(), 4.0, 5.0, (4, 6, 4), "auto")
        assert unet.backup or unet.object_patches_backup, "it is still loaded as it was patched"
        assert identity(unet) == identity(patched) == before
    replaced.detach()
    assert identity(unet) == before


def test_hooks_that_are_in_the_weights_just_now(comfyui, identity):
    """They come after patches: what was put aside for patches is the original."""
    unet = MODELS["SD1.5"].build()
    before, weight = identity(unet), unet.model.state_dict()[LAYER]
    unet.hook_backup[LAYER] = (weight.clone(), weight.device)
    with torch.inference_mode():
        weight.mul_(1.1)
    assert identity(unet) == before
    patched = lora(unet)
    patched.patch_model()
    patched.hook_backup[LAYER] = (weight.clone(), weight.device)
    assert identity(patched) == before


def test_weights_that_are_in_the_type_of_the_file_until_they_are_used(comfyui, identity):
    """As dynamic VRAM has them: a file in single precision of a model in half precision."""
    half = MODELS["SD1.5"].build(torch.bfloat16)
    single = MODELS["SD1.5"].build(torch.float32)
    for module in single.model.diffusion_model.modules():
        for name, value in module._parameters.items():
            if value is not None:
                setattr(module, f"{name}_comfy_model_dtype", torch.bfloat16)
    assert identity(single) == identity(half)


class Joined(torch.Tensor):
    """A tensor of a class of its own, made of others."""

    @staticmethod
    def __new__(cls, inner):
        made = torch.zeros(inner.shape).as_subclass(cls)
        made.inner = inner
        return made

    def __tensor_flatten__(self):
        return ["inner"], None


class Unreadable(torch.Tensor):
    pass


class Broken(torch.Tensor):
    def __tensor_flatten__(self):
        raise NotImplementedError


def test_tensors_of_classes_of_their_own(comfyui):
    from mental_averages.nodes.comfyui._weights import identity_of

    def found(value):
        module = nn.Module()
        module.register_buffer("weight", value)
        return identity_of(module, {})

    values = torch.arange(8.0)
    assert found(Joined(values)) == found(Joined(values.clone())) != found(Joined(values + 1))
    for kind in (Unreadable, Broken):
        assert found(values.as_subclass(kind)) == found((values + 1).as_subclass(kind)) != found(values[1:])


def test_what_a_checkpoint_has_nothing_for(comfyui):
    """It is on the device `meta` until it is first used, as zeros."""
    from mental_averages.nodes.comfyui._weights import identity_of

    def found(**options):
        module = nn.Linear(30, 30, bias=False)
        module.weight = nn.Parameter(torch.zeros(30, 30, **options), requires_grad=False)
        return identity_of(module, {})

    assert found(device="meta") == found() != found(dtype=torch.float16)


def test_buffers_that_are_not_saved_are_no_weights(comfyui):
    from mental_averages.nodes.comfyui._weights import identity_of

    module = nn.Module()
    module.register_buffer("cache", torch.zeros(3), persistent=False)
    before = identity_of(module, {})
    module.cache += 1
    assert identity_of(module, {}) == before
