"""Pictures of results, as image tensors (1, H, W, 3) in [0, 1]: plots of a report, sheets with captions."""
from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .report import AlignmentReport

MARGIN = 10


def plot_report(report: AlignmentReport, width: int = 1024) -> Tensor:
    """Residuals before and after matching, iterations, spread and norm of the latents, and error of the mean, by
    step."""
    if not report.steps:
        raise ValueError("This report has no aligned steps: set aligned_steps of AlignTrajectories to 1 or more.")
    figure = new_figure(width)
    residuals, latents, iterations, errors = figure.subplots(2, 2).flat
    numbers = np.arange(1, len(report.steps) + 1)
    for attribute, colour, label in (("residual_before", "#b0b7c3", "before matching"),
                                     ("residual_after", "#d1495b", "after")):
        values = np.array([getattr(step, attribute) for step in report.steps])  # (A, K)
        low, middle, high = np.quantile(np.maximum(values, 1e-12), (0.05, 0.5, 0.95), axis=1)
        residuals.fill_between(numbers, low, high, color=colour, alpha=0.3, linewidth=0)
        residuals.plot(numbers, middle, "o-", color=colour, label=f"{label} (median, 5-95 %)", markersize=4)
    residuals.set(title="residual  $|H(z_k)-A|^2/|A|^2$", yscale="log")
    residuals.legend(fontsize=8)
    latents.plot(numbers, [step.spread for step in report.steps], "o-", color="#30638e", label="spread around the mean",
                 markersize=4)
    latents.plot(numbers, [step.norm for step in report.steps], "s--", color="#edae49", label="norm", markersize=4)
    latents.axhline(1, color="#999999", linewidth=0.8)
    latents.set(title=r"matched latents, in units of $\sqrt{L}$", ylim=(0, None))
    latents.legend(fontsize=8)
    iterations.bar(numbers, [np.mean(step.iterations) for step in report.steps], color="#00798c")
    iterations.set(title="mean iterations per latent", xlabel="aligned step")
    errors.plot(numbers, [step.mean_error for step in report.steps], "o-", color="#6a4c93", markersize=4)
    errors.set(title="standard error of the mean / its norm", xlabel="aligned step", ylim=(0, None))
    for axes in figure.axes:
        axes.set_xticks(numbers)
    note_gradient_error(figure, report.settings)
    return drawn(figure)


def note_gradient_error(figure, settings: dict) -> None:
    """Say at the bottom what the gradient self-test of the model has found, if it was made."""
    if "gradient_error" in settings:
        figure.supxlabel(f"gradient self-test: {settings['gradient_error']:.1e} off the measured slope", fontsize=8,
                         color="#666666")


def new_figure(width: int, ratio: float = 0.62):
    """An empty matplotlib figure `width` pixels wide and `ratio` times as high."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width / 100, width / 100 * ratio), dpi=100, layout="constrained")


def drawn(figure) -> Tensor:
    """The picture (1, H, W, 3) in [0, 1] of a finished figure, its axes in the house style."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    for axes in figure.axes:
        axes.tick_params(labelsize=8)
        axes.title.set_fontsize(10)
        axes.spines[["top", "right"]].set_visible(False)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return torch.from_numpy(np.asarray(canvas.buffer_rgba())[..., :3].copy()).float()[None] / 255


def labelled_sheet(rows: list[Tensor], captions: list[str], title: str = "", cell: int = 192,
                   columns: int = 8) -> Tensor:
    """Batches of pictures (N, H, W, 3) in rows, each with its caption to the left; missing captions stay empty.

    Every picture is scaled to `cell` pixels height. Rows longer than `columns` are cut, and the caption says so.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(max(11, cell // 11))
    heading = ImageFont.load_default(max(13, cell // 8))
    captions = [*captions, *[""] * len(rows)][: len(rows)]
    captions = [f"{caption}\n({columns} of {len(row)})".strip() if len(row) > columns else caption
                for caption, row in zip(captions, rows)]
    pictures = [[_scaled(image, cell) for image in row[:columns]] for row in rows]
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    captions = [_wrapped(caption, measure, font, 2 * cell) for caption in captions]
    caption_width = max(int(measure.multiline_textbbox((0, 0), caption, font=font)[2]) for caption in captions)
    title_height = 0 if not title else int(measure.textbbox((0, 0), title, font=heading)[3]) + 2 * MARGIN
    left = MARGIN + (caption_width + MARGIN if caption_width else 0)
    row_widths = [sum(picture.width + MARGIN for picture in row) for row in pictures]
    title_width = int(measure.textlength(title, font=heading)) + 2 * MARGIN
    sheet = Image.new("RGB", (max(left + max(row_widths), title_width),
                              title_height + MARGIN + len(rows) * (cell + MARGIN)), "white")
    draw = ImageDraw.Draw(sheet)
    if title:
        draw.text((MARGIN, MARGIN), title, fill="#202124", font=heading)
    for index, (row, caption) in enumerate(zip(pictures, captions)):
        top = title_height + MARGIN + index * (cell + MARGIN)
        draw.multiline_text((MARGIN, top + cell / 2), caption, fill="#202124", font=font, anchor="lm")
        across = left
        for picture in row:
            sheet.paste(picture, (across, top))
            across += picture.width + MARGIN
    return torch.from_numpy(np.asarray(sheet).copy()).float()[None] / 255


def _scaled(image: Tensor, height: int):
    """A picture (H, W, 3) as PIL image of a height; small ones are enlarged smoothly."""
    from PIL import Image

    pixels = (image.float().clamp(0, 1) * 255).round().byte().cpu().numpy()
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    return Image.fromarray(pixels[..., :3]).resize((width, height), Image.Resampling.LANCZOS)


def _wrapped(text: str, measure, font, width: float) -> str:
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and measure.textlength(longer, font=font) > width:
                lines.append(line)
                line = word
            else:
                line = longer
        lines.append(line)
    return "\n".join(lines)
