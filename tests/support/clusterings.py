"""Image encoders and clusters of pictures, as ComfyUI runs the nodes."""

import torch

DIMENSIONS = {"reduction": "dimensions", "dimensions": 4}
THREE = {"components": "fixed", "count": 3}
PROMPTS = {"method": "prompts", "prompts": "dark\n\n light \nno", "score": "cosine"}


@torch.inference_mode()
def load(name):
    from mental_averages.nodes.modes import LoadImageEncoder

    return LoadImageEncoder.execute(name).args[0]


@torch.inference_mode()
def clusters_of(images, components=THREE, **change):
    from mental_averages.nodes.modes import CLIPGMMClusters

    arguments = dict(reduction=DIMENSIONS, components=components, covariance="spherical", minimum_size=2,
                     small_clusters="merge", seed=0)
    return CLIPGMMClusters.execute(images, **{**arguments, **change}).args


VISION = {"clip_vision": dict(model_type="clip_vision_model", projection_dim=8, hidden_act="quick_gelu"),
          "siglip_vision": dict(model_type="siglip_vision_model", hidden_act="gelu_pytorch_tanh"),
          "siglip2_vision": dict(model_type="siglip2_vision_model", num_patches=16, hidden_act="gelu_pytorch_tanh")}


def random_clip_vision(kind):
    """A small CLIP_VISION of ComfyUI's own class."""
    import comfy.clip_vision

    config = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=32,
                  patch_size=8, num_channels=3, layer_norm_eps=1e-5, **VISION[kind])
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        model = comfy.clip_vision.ClipVisionModel(config)
        for name, parameter in model.model.named_parameters():
            norm = parameter.ndim == 1 and name.endswith("weight")
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3 + norm)
    return model
