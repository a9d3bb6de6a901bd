"""Every architecture of the table, built small and with random weights through ComfyUI's own model classes."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Small:
    """How to build one kind of model: ComfyUI's model class and configuration class, by name, and what they take.

    text: the shape (T, D) of a prompt's embedding. size: (H, W) of latents to try it on. pooled: the size of its pooled
    form. extra: more of a CONDITIONING.
    """

    name: str
    parametrization: str  # "eps", "v" or "flow"
    model_class: str
    config_class: str
    unet_config: dict
    text: tuple[int, int] = (7, 16)
    size: tuple[int, int] = (6, 4)
    pooled: int = 0
    extra: Callable[[torch.Generator, torch.dtype], dict] = lambda generator, dtype: {}
    options: dict = field(default_factory=dict)  # keyword arguments of the model class

    def build(self, dtype: torch.dtype = torch.float32, seed: int = 0, manual_cast: torch.dtype | None = None,
              **change: Any) -> Any:
        """A MODEL of this kind, made under inference mode as ComfyUI makes it; `change` overrides its configuration."""
        import comfy.model_base
        import comfy.model_patcher
        import comfy.supported_models

        config = getattr(comfy.supported_models, self.config_class)({**self.unet_config, **change, "dtype": dtype})
        config.manual_cast_dtype = manual_cast
        options = {name: getattr(comfy.model_base.ModelType, value) for name, value in self.options.items()}
        with torch.inference_mode():
            model = getattr(comfy.model_base, self.model_class)(config, **options)
            generator = torch.Generator().manual_seed(seed)
            for parameter in model.diffusion_model.parameters():
                scale = 0.3 if parameter.ndim == 1 else parameter[0].numel() ** -0.5
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
            for buffer in model.diffusion_model.buffers():
                if buffer.is_floating_point() and buffer.numel():
                    buffer.copy_(0.1 * torch.randn(buffer.shape, generator=generator))
        return comfy.model_patcher.ModelPatcher(model, load_device=CPU, offload_device=CPU)

    def conditioning(self, seed: int, dtype: torch.dtype = torch.float32) -> list:
        """A CONDITIONING of one random prompt."""
        generator = torch.Generator().manual_seed(seed)
        with torch.inference_mode():
            found = torch.randn((1, *self.text), generator=generator).to(dtype)
            options = ({"pooled_output": torch.randn((1, self.pooled), generator=generator).to(dtype)} if self.pooled
                       else {})
            return [[found, {**options, **self.extra(generator, dtype)}]]


UNET = dict(image_size=32, in_channels=4, out_channels=4, model_channels=32, num_res_blocks=[1, 1], channel_mult=[1, 2],
            transformer_depth=[0, 1], transformer_depth_output=[0, 0, 1, 1], transformer_depth_middle=1, context_dim=16,
            use_spatial_transformer=True, use_temporal_attention=False, num_heads=4, num_head_channels=-1, legacy=False)
WITH_LABEL = dict(num_classes="sequential", adm_in_channels=16 + 6 * 256, use_linear_in_transformer=True)
FLUX = dict(in_channels=16, out_channels=16, vec_in_dim=12, context_in_dim=16, hidden_size=32, mlp_ratio=2.0,
            num_heads=2, depth=2, depth_single_blocks=2, axes_dim=[4, 6, 6], theta=10000, patch_size=2, qkv_bias=True,
            guidance_embed=True, txt_ids_dims=[])
LUMINA = dict(patch_size=2, in_channels=16, dim=32, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2,
              multiple_of=8, norm_eps=1e-5, ffn_dim_multiplier=1.0, qk_norm=True, cap_feat_dim=16, axes_dims=[4, 6, 6],
              axes_lens=[32, 32, 32])


def _hunyuan_conditioning(generator: torch.Generator, dtype: torch.dtype) -> dict:
    return {"attention_mask": torch.tensor([[1] * 5 + [0] * 2]),
            "attention_mask_mt5xl": torch.tensor([[1] * 4 + [0] * 2]),
            "conditioning_mt5xl": torch.randn((1, 6, 16), generator=generator).to(dtype)}


MODELS = {small.name: small for small in (
    Small("SD1.5", "eps", "BaseModel", "SD15", dict(UNET, use_linear_in_transformer=False, adm_in_channels=None)),
    Small("SD2.x", "v", "BaseModel", "SD20", dict(UNET, use_linear_in_transformer=True, adm_in_channels=None),
          options=dict(model_type="V_PREDICTION")),
    Small("SDXL", "eps", "SDXL", "SDXL", dict(UNET, **WITH_LABEL), pooled=16),
    Small("SDXL refiner", "eps", "SDXLRefiner", "SDXLRefiner",
          dict(UNET, **{**WITH_LABEL, "adm_in_channels": 16 + 5 * 256}), pooled=16),
    Small("SD3", "flow", "SD3", "SD3", dict(
        in_channels=16, patch_size=2, depth=1, num_blocks=2, input_size=None, num_patches=64, pos_embed_max_size=8,
        adm_in_channels=12,
        context_embedder_config=dict(target="torch.nn.Linear", params=dict(in_features=16, out_features=64)),
        pos_embed_scaling_factor=None, qk_norm="rms", x_block_self_attn_layers=[0]), pooled=12),
    Small("Flux", "flow", "Flux", "Flux", dict(FLUX, image_model="flux"), pooled=12),
    Small("Flux 2", "flow", "Flux2", "Flux2", dict(
        FLUX, image_model="flux2", in_channels=128, out_channels=128, vec_in_dim=None, axes_dim=[4, 4, 4, 4],
        patch_size=1, qkv_bias=False, txt_ids_dims=[3], global_modulation=True, mlp_silu_act=True, ops_bias=False,
        default_ref_method="index", ref_index_scale=10.0)),
    Small("Chroma", "flow", "Chroma", "Chroma", {
        **{key: value for key, value in FLUX.items() if key != "guidance_embed"}, "image_model": "chroma",
        "in_channels": 64, "out_channels": 64, "in_dim": 64, "hidden_dim": 24, "out_dim": 32, "n_layers": 1}),
    Small("PixArt", "eps", "PixArt", "PixArtSigma", dict(
        image_model="pixart_sigma", input_size=8, patch_size=2, in_channels=4, hidden_size=48, depth=2, num_heads=2,
        caption_channels=16, model_max_length=7, micro_condition=False, pe_interpolation=1.0), size=(40, 28)),
    Small("AuraFlow", "flow", "AuraFlow", "AuraFlow", dict(
        in_channels=4, out_channels=4, patch_size=2, dim=32, n_layers=4, n_double_layers=2, n_heads=2,
        global_conddim=32, cond_seq_dim=16, max_seq=64)),
    Small("HunyuanDiT", "v", "HunyuanDiT", "HunyuanDiT", dict(
        image_model="hydit", input_size=8, patch_size=2, in_channels=4, hidden_size=32, depth=4, num_heads=2,
        mlp_ratio=2.0, text_states_dim=16, text_states_dim_t5=16, text_len=7, text_len_t5=6, qk_norm=True,
        size_cond=True, use_style_cond=True), extra=_hunyuan_conditioning),
    Small("Lumina 2", "flow", "Lumina2", "Lumina2", dict(LUMINA, image_model="lumina2")),
    Small("Z-Image", "flow", "Lumina2", "ZImage", dict(
        LUMINA, image_model="lumina2", dim=256, n_heads=16, n_kv_heads=16, z_image_modulation=True, time_scale=1000.0,
        pad_tokens_multiple=32)),
    Small("Qwen-Image", "flow", "QwenImage", "QwenImage", dict(
        image_model="qwen_image", patch_size=2, in_channels=64, out_channels=16, num_layers=2, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=16, pooled_projection_dim=16, axes_dims_rope=(4, 6, 6))),
)}
