"""The network of ImageReward."""
from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ._reading_transformer import ReadingTransformer
from ._vision_transformer import VisionTransformer

MEAN, DEVIATION = 0.16717362830052426, 1.0333394966054072  # of rewards in the authors' data
WIDTHS = (1024, 128, 64, 16, 1)  # of the linear layers that make a reward of a state
PLACES = (0, 2, 4, 6, 7)  # of these layers among those that only train


class ImageReward(nn.Module):
    """The reward of Xu et al. 2023 (arXiv 2304.05977): BLIP's text encoder reads the prompt and looks at the picture,
    and linear layers make a number of its first state. It is scaled to mean 0 and deviation 1 over the authors' data.
    """

    def __init__(self, vision: dict[str, int], text: dict[str, Any]):
        super().__init__()
        self.blip = nn.ModuleDict({
            "visual_encoder": VisionTransformer(**vision, normalised=True),
            "text_encoder": ReadingTransformer(**text, picture_width=vision["width"])})
        ends = zip(PLACES, (text["width"], *WIDTHS), WIDTHS)
        self.mlp = nn.ModuleDict({"layers": nn.ModuleDict({str(place): nn.Linear(one, other)
                                                           for place, one, other in ends})})

    def forward(self, pixels: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """Rewards (B,) of normalised pixels (B, 3, size, size) for a prompt's tokens and mask (1, T)."""
        picture = self.blip["visual_encoder"](pixels)  # (B, 1 + patches, width)
        states = self.blip["text_encoder"](tokens.expand(len(pixels), -1), mask.expand(len(pixels), -1), picture)
        found = states[:, 0]
        for layer in self.mlp["layers"].children():
            found = layer(found)
        return (found[:, 0] - MEAN) / DEVIATION


def image_reward_network(config: dict[str, Any]) -> ImageReward:
    """The network, without its weights, that a folder's config.json describes."""
    return ImageReward(config["vision"], config["text"])
