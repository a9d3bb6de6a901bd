"""How the demo checkpoint is stored in the repository: 8-bit integers with one scale per output channel.

    python demo/weights.py --run FOLDER     packs the trained networks into demo/weights.safetensors

A denoiser draws latents of the one autoencoder that it was trained with, and nothing in their shapes tells autoencoders
apart. Each therefore has a name, `digest` of its weights, which everything that is trained on its latents carries.
"""
from __future__ import annotations

import argparse
import hashlib
import os
from pathlib import Path

import torch
from torch import Tensor

PATH = Path(__file__).with_name("weights.safetensors")
SCALE = "scale:"
FIRST_AUTOENCODER = "first"  # that of every stored file that is older than autoencoders' names
UNKNOWN_SPLIT = "unknown"  # of stored weights that are older than its name


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


def save(path: Path, weights: dict[str, Tensor], header: dict[str, str]) -> int:
    """Write weights in 8 bits as one file that is there whole or as it was; returns how many there are."""
    from safetensors.torch import save_file

    temporary = path.with_suffix(".tmp")
    save_file(quantise(weights), temporary, metadata=header)
    os.replace(temporary, path)
    return sum(value.numel() for value in weights.values())


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """What `save` was given: weights in fp16 and the header."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return dequantise({name: file.get_tensor(name) for name in file.keys()}), file.metadata()


def digest(weights: dict[str, Tensor]) -> str:
    """A name for weights: 16 digits that differ where a name, a shape, a type or a bit does."""
    found = hashlib.sha256()
    for name in sorted(weights):
        value = weights[name].detach().cpu().contiguous()
        found.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        found.update(value.flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:16]


def trained_autoencoder(run: Path, *, with_decoder: bool = True) -> dict:
    """The state of a run's autoencoder, with the decoder that was trained on alone, if there is one and it is asked
    for, and how many steps that took. Its name is that of its weights, or where they came out of a stored file its own.

    Raises SystemExit if that decoder belongs to another autoencoder.
    """
    path, later = run / "autoencoder.pt", run / "decoder.pt"
    state = torch.load(path, weights_only=True, map_location="cpu")
    state = {"decoder_steps": 0, **state, "name": state.get("name") or digest(state["averaged"])}
    if not with_decoder or not later.exists():
        return state
    decoder = torch.load(later, weights_only=True, map_location="cpu")
    check_belongs(f"{later}", decoder["autoencoder"], state["name"], f"{path}")
    check_split(f"{path}", state["split"], decoder["split"])
    averaged = {**state["averaged"], **{f"1.{name}": value for name, value in decoder["averaged"].items()}}
    return {**state, "averaged": averaged, "decoder_steps": state["decoder_steps"] + decoder["step"]}


def check_belongs(what: str, autoencoder: str, found: str, whose: str) -> None:
    """Raise SystemExit if `what` was trained with another autoencoder than `found`, which is that of `whose`."""
    if autoencoder != found:
        raise SystemExit(f"{what} was trained on the latents of another autoencoder ({autoencoder}) than that of "
                         f"{whose} ({found}), which cannot decode what it draws: use the two of one run, or train it "
                         "anew.")


def check_split(what: str, split: str | None, found: str) -> None:
    """Raise SystemExit if `what` was trained on another split of the pictures than `found` and may have seen what that
    holds out; weights that are older than splits' names pass."""
    if split not in (found, UNKNOWN_SPLIT):
        raise SystemExit(f"{what} was trained on another split of the pictures ({split}) than that of now ({found}) "
                         "and may have seen those that are held out: train it anew.")


def pack(run: Path, output: Path) -> int:
    """Write the networks that demo/train.py left in `run`, averaged, as one file; returns how many weights they have.

    The header tells what they are: steps, the denoiser's architecture (networks.UNETS), the autoencoder's name and the
    split that each was trained on. Raises SystemExit if they were not trained together.
    """
    autoencoder = trained_autoencoder(run)
    denoiser = torch.load(run / "denoiser.pt", weights_only=True, map_location="cpu")
    name = autoencoder["name"]
    check_belongs(f"{run / 'denoiser.pt'}", denoiser["autoencoder"], name, f"{run / 'autoencoder.pt'}")
    check_split(f"{run / 'autoencoder.pt'}", autoencoder["split"], denoiser["split"])
    found = {f"unet.{name}": value for name, value in denoiser["averaged"].items()}
    for index, part in (("0", "encoder"), ("1", "decoder")):
        found |= {f"{part}.{name.removeprefix(index + '.')}": value
                  for name, value in autoencoder["averaged"].items() if name.startswith(index + ".")}
    return save(output, found, {
        "format": "mental-averages/demo-weights-1", "autoencoder_steps": str(autoencoder["step"]),
        "decoder_steps": str(autoencoder["decoder_steps"]), "denoiser_steps": str(denoiser["step"]),
        "architecture": denoiser["architecture"], "autoencoder": name, "split": autoencoder["split"],
        "denoiser_split": denoiser["split"]})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="the folder that demo/train.py wrote")
    parser.add_argument("--output", type=Path, default=PATH)
    arguments = parser.parse_args()
    count = pack(arguments.run, arguments.output)
    print(f"{arguments.output}: {arguments.output.stat().st_size / 2**20:.1f} MiB, {count / 1e6:.1f} M weights")


if __name__ == "__main__":
    main()
