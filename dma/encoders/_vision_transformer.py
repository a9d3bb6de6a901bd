"""A vision transformer with the tensors' names of the published DINO and BLIP weights."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class VisionTransformer(nn.Module):
    """ViT (Dosovitskiy et al. 2021, arXiv 2010.11929) for pictures of one size: patches and a class token through
    pre-normalised blocks of attention and of a network four times as wide.

    `normalised` says whether the last block is followed by a norm, as where features are read off, or not, as in
    DreamSim. Called with pixels (B, 3, size, size), it gives all tokens (B, 1 + patches, width), the class token first.

    >>> network = VisionTransformer(width=8, depth=2, heads=2, patch=4, size=8, normalised=True)
    >>> network(torch.zeros(3, 3, 8, 8)).shape
    torch.Size([3, 5, 8])
    """

    def __init__(self, *, width: int, depth: int, heads: int, patch: int, size: int, normalised: bool):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + (size // patch) ** 2, width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, patch, patch)})
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6) if normalised else nn.Identity()

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.patch_embed["proj"](pixels).flatten(2).transpose(1, 2)  # (B, patches, width)
        tokens = torch.cat([self.cls_token.expand(len(pixels), -1, -1), patches], dim=1) + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)


class Block(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = self.attn["qkv"](self.norm1(tokens)).chunk(3, dim=-1)
        tokens = tokens + self.attn["proj"](attention(query, key, value, self.heads))
        return tokens + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(tokens))))


def attention(query: Tensor, key: Tensor, value: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """Attention of queries (B, Q, width) to keys and values (B, K, width) in `heads` equal parts; `mask`, bool and
    broadcast to (B, heads, Q, K), says which keys are seen."""
    parts = (each.unflatten(-1, (heads, -1)).transpose(1, 2) for each in (query, key, value))  # (B, heads, ., width')
    return F.scaled_dot_product_attention(*parts, attn_mask=mask).transpose(1, 2).flatten(2)
