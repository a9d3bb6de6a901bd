"""The pictures by which the pack is known: the first one of the README, the registry's icon and its banner.

Everything is drawn by the demo model with the values of new nodes, at its guidance. The first picture shows the
average by mean shift of one concept, large, and beside it samples and what else could be called their average. The icon
(400 x 400 pixels) is that average, the banner (21:9) eight of them.
"""
from __future__ import annotations

from pathlib import Path
from typing import Any

from support import GUIDANCE, demo_and_judge, fill_in, parse_arguments, plain_samples, preset_settings, shifted_average
from torch import Tensor

CONCEPTS = ["butterfly", "woman", "cat face", "bird", "house", "grinning face", "red apple", "rocket"]
SEED = 0
SAMPLES, SHOWN, CARRIED = 16, 5, 64
# In pixels: the sides of the large average and of those beside it, of the icon, and of the banner and its pictures.
LARGE, CELL, MARGIN = 520, 164, 20
SIDE, INNER, WIDTH, HEIGHT, COLUMNS, TILE = 400, 330, 1050, 450, 4, 190
TINTS = ("#fdeee4", "#e8f1fb", "#fdf3d6", "#eaf5e6")
QUALITY = 72


def average(concept: str) -> Tensor:
    """The average of a concept by mean shift as a picture (1, H, W, 3)."""
    demo, _ = demo_and_judge()
    return demo.decode(demo.with_denoiser(concept, GUIDANCE, lambda denoiser, sigmas: shifted_average(
        denoiser, sigmas, demo.shape, GUIDANCE, SEED).latents, layer=None, gradients=False))


def others(concept: str) -> dict[str, Tensor]:
    """What the average is compared with, by caption: pictures (N, H, W, 3)."""
    from mental_averages.dma import baselines
    from mental_averages.dma.alignment import align
    from mental_averages.dma.execution import BatchSize

    demo, _ = demo_and_judge()

    def run(denoiser: Any, sigmas: Tensor) -> dict[str, Tensor]:
        samples = plain_samples(denoiser, sigmas, demo.shape, SAMPLES, SEED)
        aligned = align(denoiser, sigmas, demo.shape, preset_settings("standard", CARRIED, SEED), batch=BatchSize(32))
        pictures = demo.decode(samples)
        return {"samples": pictures[:SHOWN], "mean of pixels": baselines.mean_of(pictures),
                "mean of latents": demo.decode(baselines.mean_of(samples)),
                "sample from zero": demo.decode(baselines.zero_latent_sample(denoiser, sigmas, demo.shape)),
                "aligned average": demo.decode(aligned.latents)}

    return demo.with_denoiser(concept, GUIDANCE, run)


def square(picture: Tensor, side: int) -> Any:
    """A picture (H, W, 3) as PIL image of `side` pixels."""
    from PIL import Image

    pixels = (picture.clamp(0, 1) * 255).round().byte().numpy()
    return Image.fromarray(pixels).resize((side, side), Image.Resampling.LANCZOS)


def first_picture(concept: str, large: Tensor, beside: dict[str, Tensor]) -> Any:
    """The average, large, over what it is compared with: samples in one row, and four averages in the other."""
    from matplotlib import font_manager
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), 19)
    line, samples = 34, next(iter(beside.values()))
    step = CELL + MARGIN
    left = LARGE + 3 * MARGIN
    sheet = Image.new("RGB", (left + SHOWN * step, LARGE + line + 2 * MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    sheet.paste(square(large, LARGE), (MARGIN, line + MARGIN))
    draw.text((MARGIN, MARGIN // 2), f"mental average of “{concept}”, by mean shift", "black", font)
    draw.text((left, MARGIN // 2), f"some of its samples ({SHOWN} of {SAMPLES})", "black", font)
    for column, picture in enumerate(samples):
        sheet.paste(square(picture, step - MARGIN), (left + column * step, line + MARGIN))
    top = line + MARGIN + step + line
    draw.text((left, top - MARGIN // 2), "and what else could be called their average", "black", font)
    side = (SHOWN * step) // (len(beside) - 1)
    for column, (caption, pictures) in enumerate(list(beside.items())[1:]):
        sheet.paste(square(pictures[0], side - MARGIN), (left + column * side, top + line))
        draw.text((left + column * side, top + line + side - MARGIN // 2), caption, "black", font)
    return sheet


def tile(picture: Tensor, width: int, height: int, side: int, tint: str) -> Any:
    """A picture (H, W, 3) on white as PIL image of `side` pixels in the middle of a tinted tile."""
    from PIL import Image, ImageChops

    out, shown = Image.new("RGB", (width, height), tint), square(picture, side)
    out.paste(ImageChops.multiply(shown, Image.new("RGB", shown.size, tint)), ((width - side) // 2,
                                                                             (height - side) // 2))
    return out


def banner(pictures: list[Tensor]) -> Any:
    """Averages (1, H, W, 3) on tinted tiles, in rows."""
    from PIL import Image

    out = Image.new("RGB", (WIDTH, HEIGHT), "white")
    columns, rows = min(COLUMNS, len(pictures)), -(-len(pictures) // COLUMNS)
    wide, high = WIDTH // columns + 1, HEIGHT // rows
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        out.paste(tile(picture[0], wide, high, TILE, TINTS[(column + row) % len(TINTS)]),
                  (column * WIDTH // columns, row * high))
    return out


def main() -> None:
    arguments = parse_arguments(__doc__.splitlines()[0], concepts=dict(type=int, help="how many the banner shows"),
                                folder=dict(type=Path, default=Path("."), help="for the three files"))
    fill_in(arguments, concepts=(len(CONCEPTS), 1))
    pictures = [average(concept) for concept in CONCEPTS[: arguments.concepts]]
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name, picture in (("mental_average", first_picture(CONCEPTS[0], pictures[0][0], others(CONCEPTS[0]))),
                          ("icon", tile(pictures[0][0], SIDE, SIDE, INNER, TINTS[0])), ("banner", banner(pictures))):
        picture.save(arguments.folder / f"{name}.jpg", quality=QUALITY, optimize=True)


if __name__ == "__main__":
    main()
