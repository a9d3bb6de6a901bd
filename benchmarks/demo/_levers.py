"""The levers of the demo denoiser's training, and short trainings with each of them at equal compute."""
from __future__ import annotations

import argparse
import functools
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from support import ROOT, FeatureSpace, Recogniser, choose_concepts, demo_weights
from torch import Tensor

import latents
import networks
import objective
import text_table
import train
import training

BASE = "as it is"
# Options of `demo/train.py denoiser`.
LEVERS = {
    BASE: (), "assigned noise": ("--noise", "assigned"), "whole captions": ("--captions", "whole"),
    "velocity": ("--weight", "velocity"), "no weight": ("--weight", "noise"), "dropout": ("--dropout", "0.1"),
    "four styles": ("--styles", "noto,fluent,flat,twitter"), "larger batch": ("--final-batches", "4"),
}
# These have other weights than the stored ones and are compared from the beginning only.
ARCHITECTURES = {"attentive": ("--architecture", "attentive"), "late": ("--architecture", "late")}
CHUNK = 32


def options_of(lever: str, *words: str) -> argparse.Namespace:
    """The command line of a lever's training, with further words."""
    return train.parse(["denoiser", "--data", ".", "--run", ".", "--comfyui", ".", *{**LEVERS, **ARCHITECTURES}[lever],
                        *words])


@functools.cache
def multiplications(architecture: str) -> float:
    """Of one pass of a denoiser over 8 x 8 latents."""
    from torch.utils.flop_counter import FlopCounterMode

    unet = networks.build_unet(architecture)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        unet(torch.zeros(1, 4, 8, 8), torch.zeros(1), context=torch.zeros(1, text_table.LENGTH, text_table.WIDTH))
    return counter.get_total_flops() / 2


def equal_steps(lever: str, steps: int, architecture: str) -> int:
    """How many steps of a lever take as many multiplications as `steps` without one of `architecture`."""
    options = options_of(lever)
    falling = training.budget_of(options).falling
    batches = 1 - falling + falling * options.final_batches
    pass_ = multiplications(options.architecture or architecture) / multiplications(architecture)
    return max(round(steps / (batches * pass_)), 1)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean of independent values and how far its 95 % interval reaches to both sides, by Student's t; nan for one."""
    from scipy.stats import t

    if len(values) < 2:
        return float(np.mean(values)), math.nan
    return float(np.mean(values)), float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values)**0.5)


@dataclass(frozen=True)
class Yardstick:
    """What every lever is measured by, on the same noise: M held-out pictures of all drawing styles as latents
    (M, 4, h, w), their captions, and concepts with a judge of pictures, if there are any."""

    autoencoder: latents.Autoencoder
    clean: Tensor
    captions: list[str]
    concepts: list[str]
    recogniser: Recogniser | None
    judge: FeatureSpace | None
    size: int

    @torch.no_grad()
    def loss(self, unet: torch.nn.Module) -> float:
        """Squared error of the noise with min-SNR weights under the pictures' captions, whatever was trained for."""
        generator, device = torch.Generator().manual_seed(0), self.clean.device
        noise = torch.randn(self.clean.shape, generator=generator).to(device)
        times = objective.draw_times(len(noise), generator)
        times = times[torch.randperm(len(times), generator=generator)].to(device)  # captions come in an order
        alphas, weight = objective.alphas_cumprod().to(device), objective.loss_weights("min-snr").to(device)
        total = 0.0
        for first in range(0, len(noise), CHUNK):
            rows = slice(first, first + CHUNK)
            alpha = alphas[times[rows]][:, None, None, None]
            noisy = alpha.sqrt() * self.clean[rows] + (1 - alpha).sqrt() * noise[rows]
            context = text_table.embed_captions(self.captions[rows]).to(device)
            with torch.autocast(device.type, torch.bfloat16):
                found = unet(noisy, times[rows].float(), context=context)
            error = (found.float() - noise[rows]).square().mean(dim=(1, 2, 3))  # (B,)
            total += float((error * weight[times[rows]]).sum())
        return total / len(noise)

    def recognised(self, unet: torch.nn.Module) -> float:
        """The share of pictures, one for each concept, that the judge takes for it."""
        right = 0
        for first in range(0, len(self.concepts), CHUNK):
            chosen = self.concepts[first : first + CHUNK]
            pictures = train.preview(unet, self.autoencoder.decoder, chosen, self.size).permute(0, 2, 3, 1)
            features = self.judge(pictures.cpu())
            right += sum(bool(self.recogniser.right(features[row : row + 1], concept)[0])
                         for row, concept in enumerate(chosen))
        return right / len(self.concepts)


def yardstick_folder(arguments: argparse.Namespace, stored: networks.StoredNetworks) -> Path:
    """Where the stored autoencoder lies for all runs; another one is that of other runs."""
    return arguments.runs / f"yardstick_{stored.autoencoder_name}"


def yardstick(arguments: argparse.Namespace, stored: networks.StoredNetworks) -> Yardstick:
    """Held-out pictures of all styles, and pictures of concepts with the classifier of the demo benchmark."""
    import dataset

    folder = yardstick_folder(arguments, stored)
    data = training.prepare(options_of(BASE, "--data", str(arguments.data), "--run", str(folder)), 64)
    autoencoder = latents.load_autoencoder(folder, data.split, data.device, stored)
    rows = training.every(torch.arange(len(data.held_out)), arguments.held_out)
    recogniser, judge, concepts = None, None, []
    if arguments.concepts:
        pictures, images = dataset.load(arguments.data, 64)
        concepts, judge = choose_concepts(pictures, arguments.concepts), FeatureSpace()
        recogniser = Recogniser(pictures, images, concepts, judge)
    return Yardstick(autoencoder, latents.encode_all(autoencoder.encoder, data.held_out[rows]),
                     [data.held_out_pictures[row].caption for row in rows.tolist()], concepts, recogniser, judge, 64)


def run_lever(lever: str, seed: int, steps: int, arguments: argparse.Namespace, stored: networks.StoredNetworks,
              measure: Yardstick) -> dict[str, float]:
    """The figures of one training by one thread, which are kept in its folder in place of its state."""
    start = f"fresh_{stored.autoencoder_name}" if arguments.fresh else demo_weights()[:8]
    settings = (start, arguments.steps, arguments.batch, arguments.pictures or "all", arguments.held_out,
                arguments.concepts)
    run = arguments.runs / "_".join(map(str, settings)) / lever.replace(" ", "_") / f"{seed}"
    kept = run / "figures.json"
    if kept.exists():
        return json.loads(kept.read_text(encoding="utf-8"))
    run.mkdir(parents=True, exist_ok=True)
    shutil.copy(yardstick_folder(arguments, stored) / "autoencoder.pt", run)
    words = [*{**LEVERS, **ARCHITECTURES}[lever], "--seed", f"{seed}", "--batch", f"{arguments.batch}", "--previews",
             "1", "--steps", f"{steps if arguments.fresh else stored.unet_steps + steps}"]
    words += [] if arguments.fresh else ["--from-weights"]
    words += ["--pictures", f"{arguments.pictures}"] if arguments.pictures else []
    before = os.times().children_user
    done = subprocess.run([sys.executable, str(ROOT / "demo" / "train.py"), "denoiser", "--data", str(arguments.data),
                           "--run", str(run), "--comfyui", os.environ["MENTAL_AVERAGES_COMFYUI"], *words],
                          env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{lever}, seed {seed}: the training failed.\n{done.stdout}{done.stderr}")
    seconds = os.times().children_user - before
    state = torch.load(run / "denoiser.pt", weights_only=True, map_location="cpu")
    unet = networks.build_unet(state["architecture"]).eval().requires_grad_(False)
    unet.load_state_dict(state["averaged"])
    unet.to(measure.clean.device)
    figures = {"seconds": seconds, "loss": measure.loss(unet)}
    if measure.concepts:
        figures["recognised"] = measure.recognised(unet)
    kept.write_text(json.dumps(figures), encoding="utf-8")
    for path in run.glob("*.pt"):
        path.unlink()  # half a gigabyte
    return figures
