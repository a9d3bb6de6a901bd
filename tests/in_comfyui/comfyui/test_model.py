"""What nodes look at in a ComfyUI MODEL."""
import pytest
import torch


def test_names_of_layers(bridge, demo, tiny_model):
    assert bridge.resolve_layer(tiny_model, "auto") == "middle_block"
    assert bridge.layer_names(tiny_model) == [*(f"input_blocks.{i}" for i in range(4)), "middle_block",
                                          *(f"output_blocks.{i}" for i in range(4))]
    with pytest.raises(ValueError, match="no layer 'output_blocks.9'.*middle_block"):
        bridge.resolve_layer(tiny_model, "output_blocks.9")


def test_levels_that_a_scheduler_repeats_are_there_once(bridge, tiny_model):
    """A distilled model has 50 levels, of which core's scheduler takes some twice for more steps."""
    import comfy.samplers
    from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete

    distilled = ModelSamplingDiscrete().patch(tiny_model, "lcm", False)[0]
    repeating = comfy.samplers.calculate_sigmas(distilled.get_model_object("model_sampling"), "simple", 60)
    levels = bridge.sigmas_of(distilled, "simple", 60)
    assert (repeating.diff() == 0).any() and (levels.diff() < 0).all()
    assert levels.tolist() == sorted(set(repeating.tolist()), reverse=True)


def test_a_scheduler_whose_levels_rise_is_refused(bridge, tiny_model, monkeypatch):
    import comfy.samplers

    monkeypatch.setattr(comfy.samplers, "calculate_sigmas", lambda *_: torch.tensor([3.0, 1.0, 2.0, 0.0]))
    with pytest.raises(ValueError, match="do not rise or fall steadily.*Use another scheduler"):
        bridge.sigmas_of(tiny_model, "restarts", 3)
