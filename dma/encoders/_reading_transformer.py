"""A text transformer that looks at a picture, with the tensors' names of the published BLIP weights."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._vision_transformer import attention


class ReadingTransformer(nn.Module):
    """BERT with attention to a picture's tokens in every layer: the image-grounded text encoder of BLIP (Li et al.
    2022, arXiv 2201.12086).

    Called with token ids (B, T), a mask (B, T) that is 0 at padding and the picture's tokens (B, P, picture_width), it
    gives the last states (B, T, width).

    >>> network = ReadingTransformer(vocabulary=9, longest=5, width=8, depth=2, heads=2, inner=16, picture_width=6,
    ...                              epsilon=1e-12)
    >>> network(torch.tensor([[1, 2, 0]]), torch.tensor([[1, 1, 0]]), torch.zeros(1, 4, 6)).shape
    torch.Size([1, 3, 8])
    """

    def __init__(self, *, vocabulary: int, longest: int, width: int, depth: int, heads: int, inner: int,
                 picture_width: int, epsilon: float):
        super().__init__()
        self.embeddings = nn.ModuleDict({
            "word_embeddings": nn.Embedding(vocabulary, width), "position_embeddings": nn.Embedding(longest, width),
            "LayerNorm": nn.LayerNorm(width, eps=epsilon)})
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(
            Layer(width, heads, inner, picture_width, epsilon) for _ in range(depth))})

    def forward(self, tokens: Tensor, mask: Tensor, picture: Tensor) -> Tensor:
        positions = self.embeddings["position_embeddings"](torch.arange(tokens.shape[1], device=tokens.device))
        states = self.embeddings["LayerNorm"](self.embeddings["word_embeddings"](tokens) + positions)
        for layer in self.encoder["layer"].children():
            states = layer(states, mask[:, None, None].bool(), picture)
        return states


class Layer(nn.Module):
    def __init__(self, width: int, heads: int, inner: int, picture_width: int, epsilon: float):
        super().__init__()
        self.attention = Attention(width, width, heads, epsilon)
        self.crossattention = Attention(width, picture_width, heads, epsilon)
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, inner)})
        self.output = added(inner, width, epsilon)

    def forward(self, states: Tensor, mask: Tensor, picture: Tensor) -> Tensor:
        states = self.attention(states, states, mask)
        states = self.crossattention(states, picture, None)
        inner = F.gelu(self.intermediate["dense"](states))
        return self.output["LayerNorm"](self.output["dense"](inner) + states)


class Attention(nn.Module):
    def __init__(self, width: int, seen_width: int, heads: int, epsilon: float):
        super().__init__()
        self.heads = heads
        self.self = nn.ModuleDict({"query": nn.Linear(width, width), "key": nn.Linear(seen_width, width),
                                   "value": nn.Linear(seen_width, width)})
        self.output = added(width, width, epsilon)

    def forward(self, states: Tensor, seen: Tensor, mask: Tensor | None) -> Tensor:
        found = attention(self.self["query"](states), self.self["key"](seen), self.self["value"](seen), self.heads,
                          mask)
        return self.output["LayerNorm"](self.output["dense"](found) + states)


def added(width: int, to: int, epsilon: float) -> nn.ModuleDict:
    """What makes of a layer's result something to add to its input, and the norm of the sum."""
    return nn.ModuleDict({"dense": nn.Linear(width, to), "LayerNorm": nn.LayerNorm(to, eps=epsilon)})


def padded(tokens: Tensor, length: int, padding: int) -> tuple[Tensor, Tensor]:
    """Token ids (T,) filled up to (1, length), and their mask.

    >>> padded(torch.tensor([5, 6]), 3, 0)
    (tensor([[5, 6, 0]]), tensor([[1, 1, 0]]))
    """
    missing = length - len(tokens)
    return F.pad(tokens, (0, missing), value=padding)[None], F.pad(torch.ones_like(tokens), (0, missing))[None]
