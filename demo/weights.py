"""How the demo checkpoint is stored in the repository: 8-bit integers with one scale per output channel.

    python demo/weights.py --run FOLDER     packs the trained networks into demo/weights.safetensors
"""
from __future__ import annotations

import argparse
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


def main() -> None:
    from safetensors.torch import save_file

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="the folder that demo/train.py wrote")
    arguments = parser.parse_args()
    states = {part: torch.load(arguments.run / f"{part}.pt", weights_only=True, map_location="cpu")
              for part in ("autoencoder", "denoiser")}
    weights = {f"unet.{name}": value for name, value in states["denoiser"]["averaged"].items()}
    for index, part in (("0", "encoder"), ("1", "decoder")):
        weights |= {f"{part}.{name.removeprefix(index + '.')}": value
                    for name, value in states["autoencoder"]["averaged"].items() if name.startswith(index + ".")}
    header = {"format": "mental-averages/demo-weights-1", "autoencoder_steps": str(states["autoencoder"]["step"]),
              "denoiser_steps": str(states["denoiser"]["step"])}
    save_file(quantise(weights), PATH, metadata=header)
    print(f"{PATH.name}: {PATH.stat().st_size / 2**20:.1f} MiB, {sum(v.numel() for v in weights.values()) / 1e6:.1f} M "
          "weights")


if __name__ == "__main__":
    main()
