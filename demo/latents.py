"""The autoencoder of a run, and the pictures as its latents."""
from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import networks
import weights
from optimise import save_state


@dataclass(frozen=True)
class Autoencoder:
    """Encoder, decoder, and the name (weights.py) that everything trained on its latents carries."""

    encoder: torch.nn.Module
    decoder: torch.nn.Module
    name: str


def as_input(images: Tensor) -> Tensor:
    """uint8 pictures (B, H, W, 3) as the autoencoder takes them: (B, 3, H, W) in [0, 1]."""
    return images.permute(0, 3, 1, 2).float() / 255


def load_autoencoder(run: Path, split: str, device: torch.device, stored: networks.StoredNetworks | None = None, *,
                     with_decoder: bool = True) -> Autoencoder:
    """The autoencoder of a run; where the run has none, the stored one, which it then has. With the decoder that was
    trained on alone (demo/train.py decoder), if there is one and it is asked for.

    Raises SystemExit if there is neither, if it was trained on pictures that this split holds out, or if it is the
    stored one with a decoder of before.
    """
    path = run / "autoencoder.pt"
    if not path.exists():
        if stored is None:
            raise SystemExit(f"There is no {path}: train the autoencoder first, or go on from the stored weights with "
                             "--from-weights.")
        weights.check_split(weights.PATH.name, stored.split, split)  # before the run has it
        save_state(path, step=stored.autoencoder_steps, averaged=stored.autoencoder, name=stored.autoencoder_name,
                   split=stored.split, decoder_steps=stored.decoder_steps)
    state = weights.trained_autoencoder(run, with_decoder=with_decoder)
    weights.check_split(f"{path}", state.get("split"), split)
    if stored and state["name"] == stored.autoencoder_name and state["decoder_steps"] < stored.decoder_steps:
        raise SystemExit(f"{path} is the stored autoencoder with a decoder of before, of {state['decoder_steps']} "
                         f"steps and not {stored.decoder_steps}: remove it, or choose another --run folder.")
    model = networks.build_autoencoder()
    model.load_state_dict(state["averaged"])
    return Autoencoder(*model.eval().requires_grad_(False).to(device), state["name"])


@torch.no_grad()
def encode_all(encoder: torch.nn.Module, images: Tensor) -> Tensor:
    """Latents (N, 4, H/8, W/8) of uint8 pictures, on their device."""
    return torch.cat([encoder(as_input(chunk)).float() for chunk in images.split(256)])


def latents_of(autoencoder: Autoencoder, images: Tensor, data: Path) -> Tensor:
    """The same; a folder `data` keeps them, because on a CPU they take minutes."""
    if not data.is_dir():
        return encode_all(autoencoder.encoder, images)
    path = data / f"latents_{hashlib.sha256(images.cpu().numpy().tobytes()).hexdigest()[:16]}.pt"
    if path.exists():
        kept = torch.load(path, weights_only=True, map_location=images.device)
        if kept["autoencoder"] == autoencoder.name:
            return kept["latents"]
    found = encode_all(autoencoder.encoder, images)
    save_state(path, autoencoder=autoencoder.name, latents=found)
    return found
