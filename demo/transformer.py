"""The demo transformer: an MMDiT that ComfyUI takes for Stable Diffusion 3, small enough to lie in the repository.

Four blocks of width 256 on patches of 2 x 2, so that 8 x 8 latents are 16 image tokens, trained as a rectified flow.
What ComfyUI fixes about Stable Diffusion 3 is met without storing more weights:

- *Sixteen latent channels.* The demo autoencoder has four; each is carried four times. Copies, and not another
  orthonormal basis, because the decoder's soft clamp works channel by channel and stays what it was. The noise of four
  copies averages out to half, so the default shift of 3 works here as one of 1.5 does on four channels.
- *Text 4096 wide, a pooled vector of 2048.* The demo's token table (text_table.py) fills the first 768 columns of each,
  the rest are zeros in ComfyUI as in training. The context is read before CLIP-L's last layer; that last layer, left
  free by it, averages over the words, so that the pooled vector is a bag of words.
- *77 text tokens without a mask.* Only the first ORDERED positions have a position vector. All padding behind them is
  the same token again and again, so that one token whose attention logit is raised by log(count) gives exactly what
  ComfyUI computes on all of them (`Conditions`) with a fifth of the rows.
- *Text tokens have no MLP of their own:* it is zero, which saves a quarter of the weights.
"""
from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, pad

import text_table
import weights

PATH = Path(__file__).with_name("transformer_weights.safetensors")
PREFIX, DEPTH, PATCH, CHANNELS, COPIES = "transformer.", 4, 2, 16, 4
WIDTH = 64 * DEPTH  # ComfyUI ties the width and the number of heads to the depth
ORDERED = 12  # text positions that have a position vector
END = 49407  # the token behind a caption, and all padding
POOLING = 4.0  # weight of the words' average in the pooled vector
LATENT_SCALE, LATENT_SHIFT = 1.5305, 0.0609  # ComfyUI's for Stable Diffusion 3
CONTEXT_WIDTH, POOLED_WIDTH = 4096, 2048
CONFIG = dict(
    input_size=None, patch_size=PATCH, in_channels=CHANNELS, out_channels=CHANNELS, depth=DEPTH, qk_norm="rms",
    adm_in_channels=text_table.WIDTH, context_embedder_config=dict(
        target="torch.nn.Linear", params=dict(in_features=text_table.WIDTH, out_features=WIDTH)),
)


class NoMLP(torch.nn.Module):
    """Stands in for the text tokens' MLP: zero, without weights."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


def build() -> torch.nn.Module:
    """ComfyUI's MMDiT for training: without the columns and the MLPs that are zero, output and modulations start at
    zero."""
    from comfy.ldm.modules.diffusionmodules.mmdit import OpenAISignatureMMDITWrapper, RMSNorm

    from networks import TrainableOperations

    model = OpenAISignatureMMDITWrapper(**CONFIG, operations=TrainableOperations)
    for block in model.joint_blocks[:-1]:
        block.context_block.mlp = NoMLP()
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.xavier_uniform_(module.weight)
            torch.nn.init.zeros_(module.bias)
            if "adaLN_modulation" in name or name == "final_layer.linear":
                torch.nn.init.zeros_(module.weight)
        if isinstance(module, RMSNorm):
            torch.nn.init.ones_(module.weight)
    return model


def position_table() -> Tensor:
    """The position vectors (77, 768): those of text_table.py, zero behind the first ORDERED."""
    table = text_table.position_table().clone()
    table[ORDERED:] = 0
    return table


def header(path: Path = PATH) -> dict[str, str]:
    """What a packed transformer tells of itself: steps, and the autoencoder and the split that it was trained on."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return {"autoencoder": weights.FIRST_AUTOENCODER, "split": weights.UNKNOWN_SPLIT, **file.metadata()}


def load(path: Path = PATH) -> torch.nn.Module:
    """The module of `build` with the weights that the repository stores."""
    found, _ = weights.load(path)
    model = build()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            value = found[PREFIX + name]
            # The rows behind a stored part are the zeros that the module was built with.
            parameter[: len(value)] = value
    return model


@dataclass(frozen=True)
class Conditions:
    """What the transformer is told about captions, with the equal rows at the end of the text as one.

    `context` (N, L + 1, 768) are the text tokens, of which the last stands for `padding` equal ones; `pooled` (N, 768).
    """

    context: Tensor
    pooled: Tensor
    padding: int


def embed_captions(captions: list[str], device: torch.device | str = "cpu") -> Conditions:
    """Conditions as the assembled checkpoint's text encoder computes them (at most 77 tokens a caption)."""
    ids = torch.tensor([text_table.token_ids(caption) for caption in captions], device=device)  # (N, 77)
    return embed_ids(ids, rows_for(ids))


def _ends(ids: Tensor) -> Tensor:
    """(N,) where each caption's end token stands."""
    return (ids == END).int().argmax(dim=1)


def rows_for(ids: Tensor) -> int:
    """How many text tokens before the padding the longest of the captions (N, 77) needs."""
    return min(max(ORDERED, int(_ends(ids).max()) + 1), text_table.LENGTH - 1)


def embed_ids(ids: Tensor, rows: int) -> Conditions:
    """The same of token ids (N, 77), on their device, with `rows` text tokens before the padding."""
    last, (tokens, positions) = _ends(ids), _tables(ids.device)
    # (N, L + 1, 768)
    context = tokens[ids[:, : rows + 1]].float() + positions[: rows + 1].float()
    # (N, L + 1) what the end token sees of the text
    seen = (torch.arange(rows + 1, device=ids.device) <= last[:, None]).float()
    average = torch.einsum("nl,nlw->nw", seen / seen.sum(dim=1, keepdim=True), layer_norm(context, (text_table.WIDTH,)))
    at_end = context[torch.arange(len(ids), device=ids.device), last]  # (N, 768)
    pooled = layer_norm(at_end + POOLING * average, (text_table.WIDTH,))
    return Conditions(context, pooled, text_table.LENGTH - rows)


@functools.lru_cache(maxsize=2)
def _tables(device: torch.device) -> tuple[Tensor, Tensor]:
    return text_table.token_table().to(device), position_table().to(device)


def velocity(model: torch.nn.Module, x: Tensor, sigma: Tensor, conditions: Conditions) -> Tensor:
    """The predicted velocity eps - x0 (N, 16, h, w) at x = (1 - sigma) x0 + sigma eps, sigma (N,)."""
    rows = conditions.context.shape[1]
    tokens = rows + x.shape[-2] * x.shape[-1] // PATCH**2
    bias = torch.zeros(1, 1, 1, tokens, device=x.device)
    bias[..., rows - 1] = math.log(conditions.padding)

    def attend(_, q: Tensor, k: Tensor, v: Tensor, heads: int, **unused) -> Tensor:
        # (N, heads, tokens, 64)
        q, k, v = (value.reshape(len(x), tokens, heads, -1).transpose(1, 2) for value in (q, k, v))
        return torch.nn.functional.scaled_dot_product_attention(q, k, v,
                                                                attn_mask=bias.to(q.dtype)).transpose(1, 2).flatten(2)

    return model(x, 1000 * sigma, context=conditions.context, y=conditions.pooled,
                 transformer_options={"optimized_attention_override": attend})


def copied(latents: Tensor) -> Tensor:
    """Latents of the demo autoencoder (N, 4, h, w) as the transformer has them (N, 16, h, w)."""
    return latents.repeat(1, COPIES, 1, 1)


def merged(latents: Tensor) -> Tensor:
    """The inverse of `copied`: the mean over the copies."""
    return latents.unflatten(1, (COPIES, -1)).mean(dim=1)


def stored_part(name: str, value: Tensor) -> Tensor:
    """A trained tensor without the rows that stay zero: the modulation of the missing MLPs of text tokens."""
    if "context_block.adaLN_modulation" not in name or value.shape[0] != 6 * WIDTH:
        return value
    if value[3 * WIDTH :].any():
        raise ValueError(f"{name} should be zero where it modulates the missing MLP, but is not. "
                         "Pack a state that train_transformer.py saved.")
    return value[: 3 * WIDTH]


def diffusion_model(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """All weights of the MMDiT as ComfyUI wants them, from those that training has: the rest is zeros."""
    found = dict(stored)
    for name, width in (("context_embedder.weight", CONTEXT_WIDTH), ("y_embedder.mlp.0.weight", POOLED_WIDTH)):
        found[name] = pad(found[name], (0, width - found[name].shape[1]))
    for block in range(DEPTH - 1):
        text = f"joint_blocks.{block}.context_block."
        for part in ("weight", "bias"):
            name = f"{text}adaLN_modulation.1.{part}"
            missing = 6 * WIDTH - found[name].shape[0]
            found[name] = pad(found[name], (0, 0, 0, missing) if part == "weight" else (0, missing))
        like = found[f"{text}attn.qkv.weight"]
        shapes = {"fc1.weight": (4 * WIDTH, WIDTH), "fc1.bias": (4 * WIDTH,),
                  "fc2.weight": (WIDTH, 4 * WIDTH), "fc2.bias": (WIDTH,)}
        found |= {f"{text}mlp.{name}": like.new_zeros(shape) for name, shape in shapes.items()}
    return found


def autoencoder(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """The demo autoencoder (names as in weights.safetensors) for sixteen channels, cancelling ComfyUI's latent
    scaling."""
    names = {"encoder.": "taesd_encoder.", "decoder.": "taesd_decoder."}
    found = {new + name.removeprefix(old): value for name, value in stored.items()
             for old, new in names.items() if name.startswith(old)}
    last = max(int(name.split(".")[1]) for name in found if name.startswith("taesd_encoder."))
    for part in ("weight", "bias"):
        name = f"taesd_encoder.{last}.{part}"
        found[name] = found[name].repeat(COPIES, *[1] * (found[name].ndim - 1))
    found["taesd_decoder.1.weight"] = found["taesd_decoder.1.weight"].repeat(1, COPIES, 1, 1) / COPIES
    return found | {"vae_scale": torch.tensor(LATENT_SCALE), "vae_shift": torch.tensor(LATENT_SHIFT)}


def text_encoder(passing: dict[str, Tensor]) -> dict[str, Tensor]:
    """The pass-through CLIP-L (names from "text_model." on) with its last layer averaging over the words.

    Queries and keys are zero, so that attention is even over everything up to a token; values and output are
    identities.
    """
    identity = torch.eye(text_table.WIDTH, dtype=torch.half)
    last = "text_model.encoder.layers.11.self_attn."
    return passing | {"text_model.embeddings.position_embedding.weight": position_table(),
                      f"{last}v_proj.weight": identity, f"{last}out_proj.weight": POOLING * identity,
                      "text_projection.weight": identity.clone()}


def checkpoint(demo: Path, passing: dict[str, Tensor], path: Path = PATH) -> dict[str, Tensor]:
    """The whole state dict under the names of Stable Diffusion 3.

    `demo`: the file of the autoencoder, in the format of weights.safetensors; `passing`: the pass-through text encoder;
    `path`: the packed transformer. Raises SystemExit if it was trained with another autoencoder.
    """
    found, told = weights.load(demo)
    weights.check_belongs(f"{path}", header(path)["autoencoder"], told.get("autoencoder", weights.FIRST_AUTOENCODER),
                          f"{demo}")
    trained = {name.removeprefix(PREFIX): value for name, value in weights.load(path)[0].items()}
    parts = {"model.diffusion_model.": diffusion_model(trained), "first_stage_model.": autoencoder(found),
             "text_encoders.clip_l.transformer.": text_encoder(passing)}
    state = {prefix + name: value for prefix, part in parts.items() for name, value in part.items()}
    # Nothing reads it, but ComfyUI counts it among the keys that a checkpoint should have.
    return state | {"text_encoders.clip_l.logit_scale": torch.tensor(math.log(100))}
