"""SemanticLayerProbe on small models of ComfyUI's own classes."""
import pytest
import torch
from small_models import MODELS
from stopping import Calls, saved_states


@pytest.fixture
def probe(bridge, built, folders):
    """Runs the node on a small model as ComfyUI does, under inference mode."""
    from mental_averages.nodes.hspace import SemanticLayerProbe

    def run(name="SD1.5", prompts=2, **change):
        small, model = MODELS[name], built(name)
        latent = {"samples": torch.zeros(1, model.model.latent_format.latent_channels, *small.size)}
        growing = ({f"prompts{i}": small.conditioning(10 + i) for i in range(prompts)} if isinstance(prompts, int)
                   else prompts)
        arguments = dict(model=model, prompts=growing, negative=small.conditioning(2),
                         latent_image=latent, samples=4, levels="0.25", steps=4, cfg=2.0, scheduler="normal", seed=0,
                         pooling="none", iterations=1, layers="middle_block, output_blocks" if name == "SD1.5" else "")
        with torch.inference_mode():
            return SemanticLayerProbe.execute(**{**arguments, **change}).args

    return run


@pytest.mark.parametrize("name", ["SD1.5", "SD3"])
def test_outputs_name_the_layer_of_the_highest_score(bridge, built, probe, name):
    hspace, curve, table, report, layer = probe(name, levels="0, 0.5", prompts=3, layers="")
    assert [entry.name for entry in report.layers] == bridge.layer_names(built(name))
    assert layer == report.chosen == max(report.layers, key=lambda entry: entry.score).name
    assert (isinstance(hspace, bridge.HSpace)
            and (hspace.model, hspace.layer, hspace.pooling) == (built(name), layer, "none"))
    assert curve.shape[0] == 1 and curve.shape[3] == 3 and f"| **{layer}** |" in table
    assert 0 <= report.settings["gradient_error"] < 0.01
    assert (len(report.settings["sigmas"]) == 2
            and all(len(entry.left) == 2 and max(entry.left) <= 1 for entry in report.layers))


def test_same_seed_same_choice_for_any_batch_size_and_other_seeds_differ(probe):
    report = probe(cached=False)[3]
    again, single = probe(cached=False)[3], probe(cached=False, batch_size=1)[3]
    assert again.layers == report.layers and again.chosen == report.chosen
    assert single.chosen == report.chosen
    for one, other in zip(report.layers, single.layers):
        assert (other.ratio == pytest.approx(one.ratio, rel=1e-3, abs=1e-4)
                and other.score == pytest.approx(one.score, rel=2e-2, abs=1e-3))
    assert probe(cached=False, seed=1)[3].layers != report.layers


def test_model_is_bit_identical_afterwards(built, probe):
    import nodes

    def ksampler():
        small = MODELS["SD1.5"]
        with torch.inference_mode():
            return nodes.common_ksampler(built("SD1.5"), 5, 3, 4.0, "euler", "normal", small.conditioning(1),
                                         small.conditioning(2),
                                         {"samples": torch.zeros(1, 4, *small.size)})[0]["samples"]

    before = ksampler()
    probe(cached=False)
    assert torch.equal(before, ksampler())
    assert not any(module._forward_hooks for module in built("SD1.5").model.diffusion_model.modules())


@pytest.fixture
def passes(built):
    """Counts the forward passes that the small U-Net begins."""
    count = [0]
    hook = built("SD1.5").model.diffusion_model.register_forward_pre_hook(lambda module, inputs: count.__setitem__(
        0, count[0] + 1))
    yield count
    hook.remove()


def test_what_was_measured_is_kept_per_model_and_settings(built, probe, passes, folders):
    report = probe()[3]
    first, passes[0] = passes[0], 0
    assert probe()[3] == report
    # The model is asked who it is, at two noise levels, and nothing else.
    assert passes[0] <= 6 < first / 4
    passes[0] = 0
    assert probe(batch_size=2)[3] == report and passes[0] <= 6, "the batch size is no part of it"
    assert probe(samples=5)[3] != report
    patched = built("SD1.5").clone()
    weight = "diffusion_model.middle_block.0.in_layers.2.weight"
    with torch.inference_mode():
        patched.add_patches({weight: (torch.randn_like(patched.model.state_dict()[weight]),)}, 1.0)
    passes[0] = 0
    other = probe(model=patched)[3]
    assert passes[0] > 6 and other.layers != report.layers
    assert probe(cached=False)[3].layers == report.layers


def test_an_interrupted_probe_goes_on_after_its_last_prompt(built, probe, passes, folders):
    report = probe(cached=False)[3]
    whole, calls = passes[0], Calls(built("SD1.5"))
    # In the second prompt: the state of the first one is on disk, and nothing else.
    stopped = calls.stop_when(lambda count: [state["prompts"] for state in saved_states(folders).values()] == [1])
    with pytest.raises(stopped):
        probe(model=calls.model)
    passes[0] = 0
    assert probe()[3].layers == report.layers
    assert passes[0] < 0.7 * whole  # one prompt of two, and who the model is


def test_layers_can_be_chosen_by_name(bridge, built, probe):
    from mental_averages.nodes.inputs import chosen_layers

    names = bridge.layer_names(built("SD1.5"))
    assert chosen_layers(names, " ") == names
    assert chosen_layers(names, "output_blocks; middle_block") == names[4:]
    assert chosen_layers(names, "*put_blocks.1, middle_block") == ["input_blocks.1", "middle_block", "output_blocks.1"]
    assert chosen_layers([f"joint_blocks.{i}"
                          for i in range(12)], "joint_blocks.1") == ["joint_blocks.1"], "not joint_blocks.10"
    only = probe(layers="middle_block", matched=0)
    assert (only[4] == "middle_block" and only[3].margin is None and "gradient_error" not in only[3].settings
            and only[3].layers[0].left == [])


def test_bad_inputs_are_refused_before_the_model_runs(built, probe, passes):
    plain = MODELS["SD1.5"].conditioning(1)
    for change, message in (
            (dict(prompts=1), "1 prompts are connected"), (dict(prompts=0), "0 prompts are connected"),
            (dict(layers="joint_blocks"), "No layer of this model fits 'joint_blocks'.*middle_block"),
            (dict(samples=3), "samples is 3: choose a number from 4 to 1024"), (dict(matched=5), "matched is 5"),
            (dict(iterations=0), "iterations is 0"),
            (dict(levels="0, 1"), "not shares of sampling"), (dict(levels="-0.1"), "not shares of sampling"),
            (dict(levels="early"), "row of numbers"),
            (dict(levels=""), "no levels"), (dict(batch_size=-1), "batch_size is -1"),
            (dict(negative=[]), "negative conditioning is empty"),
            (dict(prompts={"prompts0": plain, "prompts1": []}), "prompts1 conditioning is empty"),
            (dict(prompts={"prompts0": plain, "prompts1": [[plain[0][0], {"mask": torch.ones(1, 8, 8)}]]}),
             "prompts1 conditioning carries a mask"),
            (dict(latent_image={"samples": torch.zeros(0, 4, 6, 4)}), "empty batch")):
        with pytest.raises(ValueError, match=message):
            probe(**change)
    assert passes[0] == 0


def test_semantic_layer_probe(demo, numbered, empty_latent, folders):
    from mental_averages.nodes.hspace import SemanticLayerProbe

    with torch.inference_mode():
        report = SemanticLayerProbe.execute(demo[0], {"prompts0": numbered[0], "prompts1": numbered[1]}, numbered[1],
                                            empty_latent, 4, "0", 4, 4.0, "normal", 0, "none", layers="middle_block",
                                            matched=0).args[3]
    assert report.chosen == "middle_block"
