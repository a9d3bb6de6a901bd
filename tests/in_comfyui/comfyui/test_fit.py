"""What does not fit a model is named, in every node, and not taken for a fault of gradients."""
import pytest
import torch
from core_predictions import prompts as prompts_of, with_option
from every_node import EVERY, run

NODES = pytest.mark.parametrize("node", list(EVERY))


def of_width(conditioning, width):
    return [[torch.zeros(*tensor.shape[:2], width), options] for tensor, options in conditioning]


def controlled(conditioning, width):
    """A conditioning with a ControlNet that reads prompts of this width."""
    import comfy.cldm.cldm
    import comfy.controlnet
    import comfy.ops

    with torch.inference_mode():
        network = comfy.cldm.cldm.ControlNet(
            image_size=32, in_channels=4, model_channels=32, hint_channels=3, num_res_blocks=[1, 1],
            channel_mult=[1, 2], transformer_depth=[0, 1], transformer_depth_middle=1, context_dim=width,
            use_spatial_transformer=True, num_heads=4, legacy=False, dtype=torch.float32,
            operations=comfy.ops.manual_cast)
        for parameter in network.parameters():
            parameter.zero_()
        control = comfy.controlnet.ControlNet(network.eval(), load_device=torch.device("cpu"))
        control.set_cond_hint(torch.zeros(1, 3, 64, 64), 1.0)
    return with_option(conditioning, control=control, control_apply_to_uncond=True)


@NODES
def test_a_prompt_of_another_width(small, node):
    model, prompts = small
    with pytest.raises(ValueError, match=r"The (positive|negative) prompt does not fit this model \(mat1 and mat2.*"
                                         "CLIP of the model's own checkpoint") as raised:
        run(node, model, tuple(of_width(prompt, 24) for prompt in prompts))
    assert "differentiated" not in str(raised.value) and "precision" not in str(raised.value)


@NODES
def test_a_prompt_without_its_pooled_part(built, node):
    prompts = tuple([[tensor, {}] for tensor, _ in prompt] for prompt in prompts_of("SDXL"))
    with pytest.raises(ValueError, match="A prompt has no pooled_output.*CLIP of the model's own checkpoint"):
        run(node, built("SDXL"), prompts)


@NODES
def test_a_controlnet_of_another_width(small, node):
    model, prompts = small
    with pytest.raises(ValueError, match="A ControlNet on the positive prompt does not fit this model or size.*mat1"):
        run(node, model, (controlled(prompts[0], 24), prompts[1]))


@NODES
def test_what_another_node_has_added(small, node):
    model, prompts = small
    model = model.clone()
    model.set_model_attn2_patch(lambda q, k, v, options: (q @ torch.zeros(3, 3), k, v))
    with pytest.raises(ValueError, match="another node has added to this model fails in a plain forward pass.*before"):
        run(node, model, prompts)


def test_a_failure_of_something_else_stays_what_it_is(bridge, small):
    model, prompts = small

    def function(denoiser):
        raise KeyError("something else")

    with pytest.raises(KeyError, match="something else"):
        bridge.with_denoiser(model, *prompts, 3.0, torch.tensor([5.0, 0.0]), (4, 8, 8), 0, function)


@pytest.mark.parametrize("error", [KeyError("a table of another node"), KeyError("pooled_output"), KeyError()])
def test_what_fails_before_the_sampler_is_not_the_prompt_unless_it_is(bridge, small, error):
    """Another node's code runs there, too."""
    from comfy.patcher_extension import WrappersMP

    def failing(executor, *arguments, **options):
        raise error

    model, prompts = small
    model = model.clone()
    model.add_wrapper(WrappersMP.OUTER_SAMPLE, failing)
    with pytest.raises(KeyError) as raised:
        bridge.with_denoiser(model, *prompts, 3.0, torch.tensor([5.0, 0.0]), (4, 8, 8), 0, lambda denoiser: None)
    assert raised.value is error


def test_a_missing_key_that_prompts_have_is_not_theirs(bridge, built, monkeypatch):
    prompts = prompts_of("SDXL")
    model = built("SDXL")

    def failing(**options):
        raise KeyError("pooled_output")

    monkeypatch.setattr(model.model, "extra_conds", failing, raising=False)
    with pytest.raises(KeyError):
        bridge.with_denoiser(model, *prompts, 3.0, torch.tensor([5.0, 0.0]), (4, 8, 8), 0, lambda denoiser: None)


def test_nothing_is_asked_where_nothing_fails(small):
    from stopping import Calls

    model, prompts = small
    calls = Calls(model)
    calls.during(run, "ZeroLatent", calls.model, prompts)
    assert calls.count == 4


def test_tensors_that_cannot_be_reached_are_blamed_on_their_node(small):
    class Slotted:
        __slots__ = ("factor",)

        def __call__(self, q, k, v, options):
            return q * self.factor, k, v

    model, prompts = small
    model, patch = model.clone(), Slotted()
    with torch.inference_mode():
        patch.factor = torch.tensor([1.1])
    model.set_model_attn1_patch(patch)
    with pytest.raises(ValueError, match="Another node has added tensors of its own.*from before that node"):
        run("AlignTrajectories", model, prompts)




def test_hints_are_whole_for_the_next_node(unet):
    """After a failure something is asked of one latent, and core shortens the hints that it finds."""
    from controls import controlled as with_hints
    from inversions import sample

    texts = with_hints(prompts_of()[0], hints=3), prompts_of()[1]
    z = {"samples": torch.randn((3, 4, 6, 4), generator=torch.Generator().manual_seed(3))}
    expected, broken = sample(unet, texts, z, steps=2)["samples"], unet.clone()
    broken.set_model_sampler_post_cfg_function(lambda arguments: arguments["denoised"] @ torch.zeros(3, 3))
    fresh = with_hints(prompts_of()[0], hints=3), prompts_of()[1]
    with pytest.raises(RuntimeError, match="mat"):
        sample(broken, fresh, z, steps=2)
    hint = fresh[0][0][1]["control"].cond_hint
    assert hint is None or len(hint) == 3 or len(hint) == 6
    torch.testing.assert_close(by_ksampler(unet, fresh, z), expected, rtol=1e-3, atol=1e-3)


def by_ksampler(model, texts, z):
    import comfy.sample

    from mental_averages.nodes import comfyui

    with torch.inference_mode():
        return comfy.sample.sample(model, z["samples"].clone(), 2, 1.0, "euler", "simple", *texts,
                                   torch.zeros_like(z["samples"]), sigmas=comfyui.sigmas_of(model, "simple", 2))
