"""Small ControlNets, LoRAs and patches on small MODELs."""
import torch
from core_predictions import prompts, with_option


def controlled(conditioning, strength=0.8, lora=False, **options):
    """A conditioning with a small ControlNet or ControlLora, loaded under inference mode as ComfyUI loads it."""
    import comfy.cldm.cldm
    import comfy.controlnet
    import comfy.ops

    with torch.inference_mode():
        network = comfy.cldm.cldm.ControlNet(
            image_size=32, in_channels=4, model_channels=32, hint_channels=3, num_res_blocks=[1, 1],
            channel_mult=[1, 2], transformer_depth=[0, 1], transformer_depth_middle=1, context_dim=16,
            use_spatial_transformer=True, num_heads=4, legacy=False, dtype=torch.float32,
            operations=comfy.ops.manual_cast)
        generator = torch.Generator().manual_seed(4)
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator)
                            * (0.3 if parameter.ndim == 1 else parameter[0].numel() ** -0.5))
        control = comfy.controlnet.ControlNet(network.eval(), load_device=torch.device("cpu"))
        if lora:
            weights = {key: value for key, value in network.state_dict().items()
                       if key.startswith(("input_hint", "zero_convs", "middle_block_out"))}
            changed = network.input_blocks[1][0].out_layers[3].weight
            weights["input_blocks.1.0.out_layers.3.up"] = 0.1 * torch.randn((len(changed), 2), generator=generator)
            weights["input_blocks.1.0.out_layers.3.down"] = 0.1 * torch.randn((2, changed[0].numel()),
                                                                              generator=generator)
            control = comfy.controlnet.ControlLora(weights)
        control.set_cond_hint(torch.rand((1, 3, 48, 32), generator=generator), strength, **options)
    return with_option(conditioning, control=control, control_apply_to_uncond=True)


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
