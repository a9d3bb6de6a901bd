"""The pictures that a model was made for, and a warning where far smaller ones are asked of it."""
from __future__ import annotations

import logging
import math
from typing import Any

from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.ldm.qwen_image.model import QwenImageTransformer2DModel
from comfy_execution.utils import get_executing_context

from ...dma.diffusion import Parametrization
from ._architectures import ARCHITECTURES
from ._latents import latent_shape
from ._noise_law import parametrization_of

# Below this share of its side a model draws blots; some of a family were made for half of what the others were.
FAR_BELOW = 0.5
# What users load has more parameters. Smaller networks were trained for who knows what size, as the demo model's.
FEWEST_PARAMETERS = 200_000_000
WIDTH_OF_SD2 = 1024  # of the text that it reads


def picture_side(model: Any) -> int | None:
    """Width and height in pixels of the square pictures that a MODEL was made for, judged by its kind; None for small
    networks and unknown ones."""
    network = model.get_model_object("diffusion_model")
    known = any(type(network) is architecture.network for architecture in ARCHITECTURES)
    if not known or sum(parameter.numel() for parameter in network.parameters()) < FEWEST_PARAMETERS:
        return None
    if not isinstance(network, UNetModel):
        return 1328 if isinstance(network, QwenImageTransformer2DModel) else 1024
    if network.num_classes is not None:
        return 1024  # SDXL and its refiner
    width = model.model.model_config.unet_config.get("context_dim")
    return 768 if width == WIDTH_OF_SD2 and parametrization_of(model) is Parametrization.V else 512


def drawn_shape(model: Any, latent: dict, title: str) -> tuple[int, ...]:
    """`latent_shape` of pictures that the node `title` is going to draw. The log, and the node on the page, say so
    where they are far smaller than those that the model was made for."""
    shape = latent_shape(model, latent)
    side, factor = picture_side(model), model.model.latent_format.spacial_downscale_ratio
    height, width = shape[1] * factor, shape[2] * factor
    if side is not None and math.sqrt(height * width) < FAR_BELOW * side:
        # The classic page shows about fifty letters of it.
        tell(title, f"{width} x {height} gives blots: made for about {side} x {side}. Change the latents' size.")
    return shape


def tell(title: str, warning: str) -> None:
    """A warning in the log and, where a page is looking on, on the node that is running."""
    logging.warning("%s: %s", title, warning)
    context = get_executing_context()
    if context is None:
        return
    from server import PromptServer

    server = getattr(PromptServer, "instance", None)
    if server is not None:
        server.send_progress_text(warning, context.node_id)
