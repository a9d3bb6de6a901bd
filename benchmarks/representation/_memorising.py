"""A copy of the demo U-Net that learns some pictures by heart, for memorisation.py."""
from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from support import DemoModel, as_pictures
from torch import Tensor

import captions
import dataset
import networks
import objective
import pack
import text_table
import training
from optimise import Budget, optimise

UNET = "model.diffusion_model."


@dataclass(frozen=True)
class Pictures:
    """Rows of the demo set: those to be memorised, shown over and over, and of the same kind those that are shown once;
    others, on which the demo U-Net was trained, fill the batches. The first two were never shown to it before."""

    memorised: np.ndarray
    once: np.ndarray
    others: np.ndarray


def chosen(pictures: Sequence[dataset.Picture], memorised: int, once: int, seed: int = 0) -> Pictures:
    """Held-out pictures at random, one of each concept and style, so that none is a variant of another. Raises
    SystemExit where there are too few."""
    first: dict[tuple[str, str], int] = {}
    for row, picture in enumerate(pictures):
        if picture.held_out:
            first.setdefault((picture.concept, picture.style), row)
    rows = np.random.default_rng(seed).permutation(list(first.values()))
    if len(rows) < memorised + once:
        raise SystemExit(f"There are {len(rows)} different held-out pictures, but --memorised and --once ask for "
                         f"{memorised + once}.")
    others = np.array([row for row, picture in enumerate(pictures) if not picture.held_out])
    return Pictures(rows[:memorised], rows[memorised: memorised + once], others)


def batches(pictures: Pictures, steps: int, batch: int, seed: int = 0) -> np.ndarray:
    """Rows (steps, batch): the first half of each batch are pictures to be memorised, in random order and each equally
    often but for one; among the rest each of those that are shown once stands once, at a random place."""
    generator, half = np.random.default_rng(seed + 1), batch // 2
    if steps * (batch - half) < len(pictures.once):
        raise SystemExit(f"{steps} steps of {batch} pictures have no room for {len(pictures.once)} that are shown "
                         "once: raise --steps.")
    rounds = -(-steps * half // len(pictures.memorised))
    often = np.concatenate([generator.permutation(pictures.memorised) for _ in range(rounds)])[: steps * half]
    rest = generator.choice(pictures.others, steps * (batch - half))
    rest[generator.choice(len(rest), len(pictures.once), replace=False)] = pictures.once
    return np.concatenate([often.reshape(steps, half), rest.reshape(steps, batch - half)], axis=1)


def coded_rows(demo: DemoModel, images: np.ndarray, rows: np.ndarray) -> Tensor:
    """Clean latents (N, C, H, W) of all N pictures, of which only those of `rows` are coded; the others are 0."""
    coded = torch.zeros(len(images), *demo.shape)
    coded[torch.from_numpy(rows)] = demo.latents_of(as_pictures(images[rows])).float().cpu()
    return coded


def memorise(pictures: Sequence[dataset.Picture], coded: Tensor, rows: np.ndarray, data: Path, run: Path,
             peak: float, seed: int = 0) -> Path:
    """Train a copy of the demo U-Net on the pictures `rows` (steps, batch), whose clean latents are among `coded`
    (N, C, H, W); the path of a checkpoint with what it has become. A run goes on from its state in the folder `run`."""
    from safetensors.torch import load_file, save_file

    stored, device = networks.stored_networks(), networks.device()
    table = torch.from_numpy(captions.load(data, list(pictures), "mixed").astype("int32"))
    unet = networks.build_unet(stored.architecture).to(device)
    unet.load_state_dict(stored.unet)
    averaged = copy.deepcopy(unet).eval().requires_grad_(False)
    schedule = objective.alphas_cumprod().to(device)

    def loss_at_step(step: int, part: int) -> Tensor:
        generator = torch.Generator(device).manual_seed(seed * 1_000_003 + step)
        chosen = torch.from_numpy(rows[step])
        clean, ids = coded[chosen].to(device), table[chosen].to(device)
        context = text_table.embed_ids(training.draw_variants(ids, torch.arange(len(ids), device=device), generator))
        times = objective.draw_times(len(clean), generator)  # (B,)
        # The times rise, and the halves of a batch are of two kinds.
        times = times[torch.randperm(len(times), generator=generator, device=device)]
        noise = torch.randn(clean.shape, generator=generator, device=device)
        alpha = schedule[times][:, None, None, None]
        with torch.autocast(device.type, torch.bfloat16):
            predicted = unet(alpha.sqrt() * clean + (1 - alpha).sqrt() * noise, times.float(), context=context)
        return (predicted.float() - noise).square().mean()

    run.mkdir(parents=True, exist_ok=True)
    optimise(unet, averaged, peak, Budget(steps=len(rows), warmup=min(100, len(rows))), run / "denoiser.pt",
             loss_at_step, lambda step: None, training=f"{rows.shape} {int(rows.sum())} {peak} {seed}")
    whole = load_file(pack.demo_checkpoint())
    changed = {UNET + name: value.half().cpu().contiguous() for name, value in averaged.state_dict().items()}
    if not changed.keys() <= whole.keys():
        raise RuntimeError("The demo checkpoint names its U-Net's weights in another way than its training.")
    path = run / "memorising.safetensors"
    save_file({**whole, **changed}, path, metadata={"format": "pt"})
    return path
