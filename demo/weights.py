"""How the demo checkpoint is stored in the repository: 8-bit integers with one scale per output channel.

    python demo/weights.py --run FOLDER     packs the trained networks into demo/weights.safetensors
"""
from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch
from torch import Tensor

PATH = Path(__file__).with_name("weights.safetensors")
SCALE = "scale:"


def quantise(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Matrices and kernels as int8 with a scale per first dimension, everything smaller in fp16."""
    stored = {}
    for name, value in weights.items():
        value = value.contiguous()
        if value.ndim < 2:
            stored[name] = value.half()
            continue
        shape = (-1, *[1] * (value.ndim - 1))
        scale = (value.float().flatten(1).abs().amax(1) / 127).clamp_min(1e-8).half()  # (O,)
        stored[name] = (value.float() / scale.float().reshape(shape)).round().clamp(-127, 127).to(torch.int8)
        stored[SCALE + name] = scale
    return stored


def dequantise(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """The fp16 weights that `quantise` stored."""
    weights = {}
    for name, value in stored.items():
        if name.startswith(SCALE):
            continue
        scale = stored.get(SCALE + name)
        if scale is not None:
            value = value.float() * scale.float().reshape(-1, *[1] * (value.ndim - 1))
        weights[name] = value.half()
    return weights


def pack(run: Path, output: Path) -> int:
    """Write the networks that demo/train.py left in `run`, averaged, as one file; returns how many weights they have.

    The header tells what they are: steps, the denoiser's architecture (networks.UNETS) and the split of the pictures.
    """
    from safetensors.torch import save_file

    states = {part: torch.load(run / f"{part}.pt", weights_only=True, map_location="cpu")
              for part in ("autoencoder", "denoiser")}
    found = {f"unet.{name}": value for name, value in states["denoiser"]["averaged"].items()}
    for index, part in (("0", "encoder"), ("1", "decoder")):
        found |= {f"{part}.{name.removeprefix(index + '.')}": value
                  for name, value in states["autoencoder"]["averaged"].items() if name.startswith(index + ".")}
    header = {"format": "mental-averages/demo-weights-1", "autoencoder_steps": str(states["autoencoder"]["step"]),
              "denoiser_steps": str(states["denoiser"]["step"]), "architecture": states["denoiser"]["architecture"],
              "split": states["autoencoder"]["split"]}
    temporary = output.with_suffix(".tmp")
    save_file(quantise(found), temporary, metadata=header)
    os.replace(temporary, output)
    return sum(value.numel() for value in found.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="the folder that demo/train.py wrote")
    parser.add_argument("--output", type=Path, default=PATH)
    arguments = parser.parse_args()
    count = pack(arguments.run, arguments.output)
    print(f"{arguments.output}: {arguments.output.stat().st_size / 2**20:.1f} MiB, {count / 1e6:.1f} M weights")


if __name__ == "__main__":
    main()
