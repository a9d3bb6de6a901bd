"""DreamSim: a vision transformer whose class tokens are as far apart as people find pictures to be."""
from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ._vision_transformer import VisionTransformer


class DreamSim(nn.Module):
    """The DINO ViT-B/16 branch of DreamSim (Fu et al. 2023, arXiv 2306.09344), its adapter merged into the weights.

    Called with normalised pixels (B, 3, size, size), it gives the class token of the last block, before a norm, less
    its own mean: (B, width). 1 - cosine of two of them is DreamSim's distance.
    """

    def __init__(self, vision: dict[str, int]):
        super().__init__()
        self.vision = VisionTransformer(**vision, normalised=False)

    def forward(self, pixels: Tensor) -> Tensor:
        token = self.vision(pixels)[:, 0]  # (B, width)
        return token - token.mean(dim=1, keepdim=True)


def dreamsim_network(config: dict[str, Any]) -> DreamSim:
    """The network, without its weights, that a folder's config.json describes."""
    return DreamSim(config["vision"])
