"""Small ControlNets, LoRAs and patches on small MODELs."""
import torch
from controls import controlled
from core_predictions import prompts


def with_control(**change):
    positive = controlled(prompts()[0])
    control = positive[0][1]["control"]
    for name, value in change.items():
        setattr(control, name, value)
    return positive


def lora(model, value=1.0, strength=1.0):
    from comfy.weight_adapter.lora import LoRAAdapter

    weight = "diffusion_model.middle_block.0.in_layers.2.weight"
    with torch.inference_mode():
        size, generator = model.model.state_dict()[weight].shape, torch.Generator().manual_seed(0)
        up, down = (value * torch.randn(shape, generator=generator) for shape in ((size[0], 2), (2, size[1:].numel())))
        patched = model.clone()
        patched.add_patches({weight: LoRAAdapter({weight}, (up, down, 1.0, None, None, None))}, strength)
    return patched


class Steps:
    """A patch that keeps a state and has settings."""

    def __init__(self, scale, model):
        self.scale, self.model, self.seen = scale, model, 0

    def __call__(self, arguments):
        self.seen += 1
        return arguments["denoised"]
