"""Noise levels, whatever device a model lies on. A law with other last bits stands for a card, which is not at hand."""
import types

import pytest
import torch


def on_card(model):
    """A MODEL whose model_sampling says that it lies on a card, where levels have other last bits."""
    law = model.get_model_object("model_sampling")

    class OnCard(type(law)):
        card = True

        def buffers(self, recurse=True):
            device = torch.device("cuda" if self.card else "cpu")
            return iter([types.SimpleNamespace(device=device) for _ in super().buffers(recurse)])

        def to(self, device):
            self.card = self.card and device != "cpu"
            return self

        def sigma(self, timestep):
            found = super().sigma(timestep)
            return torch.nextafter(found, torch.zeros(())) if self.card else found

    moved = OnCard(model.model.model_config)
    moved.load_state_dict(law.state_dict())
    model = model.clone()
    model.add_object_patch("model_sampling", moved)
    return model


@pytest.mark.parametrize("scheduler", ["normal", "sgm_uniform", "simple"])
def test_levels_are_the_same_before_and_after_a_model_is_loaded(bridge, tiny_model, scheduler):
    import comfy.samplers

    from mental_averages.nodes.inputs import noise_levels

    moved = on_card(tiny_model)
    law = moved.get_model_object("model_sampling")
    assert torch.equal(bridge.sigmas_of(moved, scheduler, 8), bridge.sigmas_of(tiny_model, scheduler, 8))
    assert noise_levels(moved, "0.3, 0.5, 0.8") == noise_levels(tiny_model, "0.3, 0.5, 0.8")
    assert bridge.noise_law(tiny_model) is tiny_model.get_model_object("model_sampling")
    # The model's own stays where it is.
    assert law.card and bridge.noise_law(moved) is not law
    if scheduler != "simple":
        assert not torch.equal(comfy.samplers.calculate_sigmas(law, scheduler, 8),
                               bridge.sigmas_of(moved, scheduler, 8))


def test_a_level_is_told_apart_without_its_last_bits(bridge):
    level = torch.tensor(14.614643)
    assert bridge.rounded_level(level.item()) == bridge.rounded_level(torch.nextafter(level, torch.zeros(())).item())
    assert bridge.rounded_level(14.6146) != bridge.rounded_level(14.6156) and bridge.rounded_level(0.0) == 0
