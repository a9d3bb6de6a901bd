"""ComfyUI's networks as modules of diffusers with the same weights."""


def diffusers_unet(model):
    """The U-Net of a ComfyUI MODEL as a diffusers module with the same weights."""
    import comfy.utils
    from diffusers import UNet2DConditionModel

    config = model.model.model_config.unet_config
    levels = len(config["channel_mult"])
    down = [bool(config["transformer_depth"][level]) for level in range(levels)]
    up = [bool(config["transformer_depth_output"][2 * level]) for level in range(levels)][::-1]
    unet = UNet2DConditionModel(
        block_out_channels=tuple(320 * factor for factor in config["channel_mult"]), layers_per_block=1,
        down_block_types=tuple("CrossAttnDownBlock2D" if attention else "DownBlock2D" for attention in down),
        up_block_types=tuple("CrossAttnUpBlock2D" if attention else "UpBlock2D" for attention in up),
        cross_attention_dim=768, attention_head_dim=8)
    ours = model.model.diffusion_model.state_dict()
    names = comfy.utils.unet_to_diffusers(config)
    weights = {theirs: ours[name].float().clone() for theirs, name in names.items() if name in ours}
    missing, unexpected = unet.load_state_dict(weights, strict=False)
    assert not missing and not unexpected
    return unet.requires_grad_(False).eval()
