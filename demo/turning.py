"""A denoiser for the latents of another autoencoder than its own, as a start of training on these.

Autoencoders of one kind tell the same things in other channels. The rotation R (4, 4) of the channels that brings the
latents of one nearest to those of the other (orthogonal Procrustes, centred) leaves Gaussian noise what it is, so that
a network f that predicts noise, or the velocity of a flow, in the first latents predicts it as R f(R^T x) in the
turned ones; R goes into the weights of the first and last layer. What the rotation does not explain is left to the
training.
"""
from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

import latents
import networks
import training
import transformer

PICTURES = 1024  # that the rotation is found on
FIRST, LAST = "input_blocks.0.0.weight", "out.2"  # of the U-Net
PATCHES, PIXELS = "x_embedder.proj.weight", "final_layer.linear"  # of the transformer


def start(stored: networks.StoredNetworks, name: str, images: Tensor, coded: Tensor) -> dict[str, Tensor]:
    """The weights of the stored denoiser, turned for the latents of the autoencoder `name` if that is another than its
    own.

    images (N, H, W, 3) in uint8, coded (N, 4, H/8, W/8) their latents by that autoencoder.
    """
    if name == stored.autoencoder_name:
        return stored.unet
    return turned(stored.unet, rotation_from(stored, images, coded))


def rotation_from(stored: networks.StoredNetworks, images: Tensor, coded: Tensor) -> Tensor:
    """The rotation (4, 4) from the latents of the stored autoencoder to those `coded` of the same pictures; says how
    much it explains."""
    own = networks.build_autoencoder()
    own.load_state_dict(stored.autoencoder)
    shown, wanted = (training.every(rows, PICTURES) for rows in (images, coded))
    rotation, share = rotation_between(latents.encode_all(own[0].to(images.device), shown), wanted)
    print(f"the stored weights draw the latents of another autoencoder, which explain {share:.0%} of the variance of "
          "this one's when they are turned; training starts with weights that are turned like them", flush=True)
    return rotation.cpu()


def rotation_between(latents_of_one: Tensor, others: Tensor) -> tuple[Tensor, float]:
    """R (C, C), orthogonal, with others ≈ R · latents_of_one but for their means, and the share of variance explained.

    Both (N, C, h, w), of the same pictures.
    """
    from scipy.linalg import orthogonal_procrustes

    rows, wanted = (_centred(found) for found in (latents_of_one, others))
    turn, _ = orthogonal_procrustes(rows, wanted)  # rows @ turn ≈ wanted
    left = np.square(rows @ turn - wanted).sum() / np.square(wanted).sum()
    return latents_of_one.new_tensor(turn.T), float(1 - left)


def _centred(found: Tensor) -> np.ndarray:
    rows = found.movedim(1, -1).flatten(0, -2).double().cpu().numpy()  # (N h w, C)
    return rows - rows.mean(0)


def turned(unet: dict[str, Tensor], rotation: Tensor) -> dict[str, Tensor]:
    """The weights of a denoiser (networks.UNETS) for latents that are turned by a rotation (4, 4)."""
    found = dict(unet)
    found[FIRST] = _behind(unet[FIRST], rotation)
    for part in ("weight", "bias"):
        found[f"{LAST}.{part}"] = _before(unet[f"{LAST}.{part}"], rotation)
    return found


def turned_transformer(weights: dict[str, Tensor], rotation: Tensor) -> dict[str, Tensor]:
    """Those of the demo transformer, which has every channel several times, for each pixel of a patch."""
    copies = torch.block_diag(*[rotation] * transformer.COPIES)  # (16, 16)
    found = dict(weights)
    found[PATCHES] = _behind(weights[PATCHES], copies)
    for part in ("weight", "bias"):
        value = weights[f"{PIXELS}.{part}"]  # (pixels · 16, ...)
        found[f"{PIXELS}.{part}"] = torch.cat([_before(rows, copies) for rows in value.split(len(copies))])
    return found


def _behind(kernel: Tensor, rotation: Tensor) -> Tensor:
    """A kernel (O, C, h, w) of channels that are turned before it."""
    return torch.einsum("ochw,dc->odhw", kernel, rotation).contiguous()


def _before(values: Tensor, rotation: Tensor) -> Tensor:
    """Weights or bias (C, ...) of channels that are turned afterwards."""
    return torch.tensordot(rotation, values, dims=1)
