"""What the trainings of this folder share: their options, the pictures on the device, and sheets of what they draw."""
from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import captions as caption_table
import networks
from dataset import CAPTION_LAWS, ICON_SETS, Picture, load, sampling_weights, split_digest
from optimise import Budget

STYLES = tuple(icons.style for icons in ICON_SETS)
LOOKED_AT = ["woman", "man health worker dark skin tone", "red apple", "cat face", "dog", "red heart", "house", "car",
             "grinning face", "pizza", "banana", "tree", "fish", "bird", "rocket", "guitar"]


def looked_at(count: int) -> list[str]:
    """That many captions for a preview, again from the beginning when they are at an end."""
    return [LOOKED_AT[index % len(LOOKED_AT)] for index in range(count)]


def save_sheet(images: Tensor, path: Path, columns: int = 8) -> None:
    """Write pictures (N, 3, H, W) in [0, 1] as one PNG."""
    from PIL import Image

    rows = [torch.cat(list(row), dim=2) for row in images.clamp(0, 1).split(columns) if len(row) == columns]
    sheet = torch.cat(rows, dim=1).permute(1, 2, 0)
    Image.fromarray((sheet * 255).round().byte().numpy()).save(path)


@dataclass(frozen=True)
class Data:
    """What is trained on: descriptions of N pictures and M held-out ones, and on the training's device the pictures
    (N, H, W, 3) and (M, H, W, 3) in uint8, the cumulative probabilities (N,) with which pictures are drawn, and the
    token ids (N, captions, 77) of their captions if they were asked for; and the name of the split."""

    pictures: list[Picture]
    held_out_pictures: list[Picture]
    images: Tensor
    held_out: Tensor
    cumulative: Tensor
    captions: Tensor | None
    split: str

    @property
    def device(self) -> torch.device:
        return self.images.device

    def generator(self, seed: int, step: int, part: int = 0) -> torch.Generator:
        return torch.Generator(self.device).manual_seed((seed * 1_000_003 + step) * 64 + part)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Rows (count,) of pictures."""
        drawn = torch.rand(count, generator=generator, device=self.device, dtype=torch.float64)
        return torch.searchsorted(self.cumulative, drawn).clamp(max=len(self.images) - 1)


def draw_variants(table: Tensor, rows: Tensor, generator: torch.Generator) -> Tensor:
    """For each of the rows (B,) of a table (N, variants, ...) one of its variants, (B, ...)."""
    return table[rows, torch.randint(table.shape[1], (len(rows),), generator=generator, device=table.device)]


def prepare(arguments: argparse.Namespace, size: int, law: str | None = None) -> Data:
    """The pictures that are asked for, with captions by a law of dataset.CAPTION_LAWS."""
    device = networks.device()
    pictures, images = load(arguments.data, size)
    sides = []
    for side in (False, True):
        rows = [row for row, picture in enumerate(pictures)
                if picture.held_out == side and picture.style in arguments.styles]
        sides.append([rows[place] for place in np.linspace(0, len(rows) - 1, arguments.pictures).astype(int)]
                     if arguments.pictures and arguments.pictures < len(rows) else rows)
    if not sides[0]:
        raise SystemExit(f"There is no picture for training in {', '.join(arguments.styles)}: name other --styles.")
    arguments.run.mkdir(parents=True, exist_ok=True)
    print(f"{len(sides[0])} pictures, {len(sides[1])} held out, on {device}", flush=True)
    ids = None
    if law:
        table = caption_table.load(arguments.data, pictures, law)
        ids = torch.from_numpy(table[sides[0]].astype("int32")).to(device)
    described, held_out = ([pictures[row] for row in rows] for rows in sides)
    return Data(described, held_out, *(torch.from_numpy(images[rows]).to(device) for rows in sides),
                torch.from_numpy(sampling_weights(described)).cumsum(0).to(device), ids, split_digest(pictures))


def every(rows: Tensor, count: int) -> Tensor:
    """About `count` of the rows, from all over."""
    return rows[:: max(len(rows) // count, 1)]


def styles(words: str) -> tuple[str, ...]:
    """The drawing styles of an option, with commas between them; a word that is none is refused."""
    found = tuple(words.split(","))
    if wrong := [word for word in found if word not in STYLES]:
        raise argparse.ArgumentTypeError(f"{', '.join(map(repr, wrong))}: take some of {', '.join(STYLES)}, with "
                                         "commas and without spaces between them")
    return found


def count(word: str) -> int:
    """A positive number of an option."""
    if not word.isdecimal() or not int(word):
        raise argparse.ArgumentTypeError(f"{word!r} is not a number of at least 1")
    return int(word)


def add_options(parser: argparse.ArgumentParser, steps: int, batch: int, peak: float) -> None:
    """The options of every training."""
    parser.add_argument("--run", type=Path, required=True, help="folder of this training's states and results")
    parser.add_argument("--data", type=Path, required=True,
                        help="folder of the icon sets (demo/dataset.py), or its archive")
    lasting = parser.add_mutually_exclusive_group()
    lasting.add_argument("--steps", type=count, default=steps)
    lasting.add_argument("--deadline", type=float,
                         help="end at this time, in seconds since 1970, instead of after --steps")
    parser.add_argument("--batch", type=count, default=batch)
    parser.add_argument("--final-batches", type=count, default=1,
                        help="batches of one step while the learning rate falls")
    parser.add_argument("--peak", type=float, default=peak, help="highest learning rate")
    parser.add_argument("--styles", type=styles, default=STYLES, help="drawing styles that are trained on")
    parser.add_argument("--pictures", type=count, help="only so many of the pictures, from all over, for rehearsals")
    parser.add_argument("--seed", type=int, default=0)


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """Those of trainings that build ComfyUI's networks for pictures of any size."""
    parser.add_argument("--comfyui", type=Path, required=True, help="a ComfyUI folder, for its network classes")
    parser.add_argument("--size", type=count, default=64, help="side of the pictures in pixels")


def add_denoiser_options(parser: argparse.ArgumentParser) -> None:
    """Those of trainings that go from noise and captions to latents."""
    parser.add_argument("--captions", choices=CAPTION_LAWS, default="mixed", help="how captions are shortened")
    parser.add_argument("--noise", choices=("independent", "assigned"), default="independent",
                        help="assigned: each picture of a batch gets the noise that lies near it")
    parser.add_argument("--previews", type=count, default=32, help="pictures on the sheet that shows how far it is")
    parser.add_argument("--from-weights", action="store_true", help="start from the weights that this folder stores")


def budget_of(arguments: argparse.Namespace, **options) -> Budget:
    try:
        return Budget(None if arguments.deadline else arguments.steps, arguments.deadline, **options)
    except ValueError as error:
        raise SystemExit(str(error)) from error
