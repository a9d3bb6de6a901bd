"""A small ControlNet on a conditioning."""
import torch
from core_predictions import with_option


def controlled(conditioning, strength=0.8, lora=False, hints=1, **options):
    """A conditioning with a small ControlNet or ControlLora, loaded under inference mode as ComfyUI loads it.

    hints: how many pictures it is given, or the numbers of those among the first ones that it is given.
    """
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
        chosen = range(hints) if isinstance(hints, int) else hints
        pictures = torch.rand((1 + max(chosen), 3, 48, 32), generator=generator)[list(chosen)]
        control.set_cond_hint(pictures, strength, **options)
    return with_option(conditioning, control=control, control_apply_to_uncond=True)
