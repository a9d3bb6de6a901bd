"""How well inversions come back: held-out real pictures of the demo set, up to the noise and down again.

Each picture's prompt is its caption. Errors are those of the round trip alone: in latents against the encoded picture,
in pictures of the decoded result against the decoded original latent, so that the autoencoder's own loss is not
counted. Model calls are predictions per picture for the way up; one with guidance counts once.
"""
from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from support import (
    ICONS,
    DemoModel,
    as_pictures,
    fill_in,
    parse_arguments,
    picture_psnr,
    print_table,
    save_sheet,
    with_interval,
    write_figures,
)
from torch import Tensor

import dataset
from mental_averages.dma import inversion
from mental_averages.dma.execution import BatchSize
from mental_averages.dma.inversion import (
    Bdia,
    Ddim,
    DpmEncoder,
    FireFlow,
    FixedPoint,
    Midpoint,
    invert,
    round_trip_error,
    sample_back,
)

GUIDANCE = 7.5
NULL_TEXT = inversion.NullText()
TOGETHER = 8  # pictures in a batch


@dataclass(frozen=True)
class Entry:
    """One row of the table: a method, the guidance of both ways, and the key of its figure, if it has one."""

    name: str
    method: object
    guidance: float = 1.0
    key: str = ""
    alone: bool = False  # sampled back by plain DDIM, without what the method carries


ENTRIES = [
    Entry("ddim", Ddim(), key="psnr_ddim"),
    Entry("ddim, told the source level", Ddim("source")),
    Entry("fixed_point", FixedPoint(), key="psnr_fixed_point"),
    Entry("fixed_point without acceleration", FixedPoint(history=0)),
    Entry("exact", Bdia(), key="psnr_exact"),
    Entry("exact, noise alone", Bdia(), alone=True),
    Entry("midpoint", Midpoint()),
    Entry("fireflow", FireFlow()),
    Entry(f"ddim, guidance {GUIDANCE}", Ddim(), GUIDANCE, "psnr_ddim_cfg"),
    Entry(f"null_text, guidance {GUIDANCE}", NULL_TEXT, GUIDANCE, "psnr_null_text_cfg"),
    Entry("dpm_encoder", DpmEncoder(), key="psnr_dpm_encoder"),
    Entry("dpm_encoder, eta 0.3", DpmEncoder(0.3)),
    Entry(f"dpm_encoder, guidance {GUIDANCE}", DpmEncoder(), GUIDANCE, "psnr_dpm_encoder_cfg"),
]


def round_trip(demo: DemoModel, entry: Entry, captions: list[str], clean: Tensor,
               steps: int) -> tuple[Tensor, inversion.InversionReport]:
    """Clean latents (B, C, H, W) after their round trip, and the report of the way up."""
    optimised, batch = isinstance(entry.method, inversion.NullText), BatchSize(len(clean))

    def up(denoiser, sigmas):
        return invert(denoiser, clean, sigmas, method=Ddim() if optimised else entry.method, batch=batch,
                      measure=False, whole=optimised)

    def back(denoiser, sigmas):
        found = pivot if pivot is not None else up(denoiser, sigmas)
        if optimised:
            found = inversion.optimise_null_text(denoiser, found, settings=entry.method, batch=batch,
                                                 measure=False)
        trajectory = found.trajectory
        method, companion = (Ddim(), None) if entry.alone else (trajectory.method, trajectory.companion)
        return sample_back(denoiser, trajectory.noise, sigmas, method=method, companion=companion,
                           batch=batch), found.report

    pivot = demo.with_denoiser(captions, 1.0, up, steps, layer=None, latents=len(clean)) if optimised else None
    return demo.with_denoiser(captions, entry.guidance, back, steps, layer=None, latents=len(clean))


def main() -> None:
    arguments = parse_arguments(__doc__.splitlines()[0], data=ICONS,
                                sheet=dict(type=Path, help="write a sheet of round trips, one row per method"),
                                pictures=dict(type=int, help="number of pictures (64; 6 with --quick)"),
                                steps=dict(type=int, help="steps up (50; 20 with --quick)"))
    fill_in(arguments, pictures=(64, 6), steps=(50, 20))
    count, steps = arguments.pictures, arguments.steps
    pictures, images = dataset.load(arguments.data)
    held_out = [row for row, picture in enumerate(pictures) if picture.held_out]
    rows = [held_out[place] for place in np.linspace(0, len(held_out) - 1, count).astype(int)]
    demo = DemoModel()
    clean = demo.latents_of(as_pictures(images[rows]))
    originals, table, codes, shown, figures = demo.decode(clean), [], [], [], {}
    for entry in ENTRIES:
        started, restored, reports = time.monotonic(), [], []
        # Null-text optimisation goes on with some of a batch, which a batch of prompts does not allow.
        together = 1 if isinstance(entry.method, inversion.NullText) else TOGETHER
        for first in range(0, count, together):
            captions = [pictures[row].caption for row in rows[first:first + together]]
            found, report = round_trip(demo, entry, captions, clean[first:first + together], steps)
            restored.append(found)
            reports.append(report)
        calls = [report.calls for report in reports for _ in report.steps[-1].norm]
        norms = [norm for report in reports for norm in report.steps[-1].norm]
        restored = torch.cat(restored)
        error, decoded = round_trip_error(clean, restored), demo.decode(restored)
        psnr = picture_psnr(decoded, originals).numpy()
        table.append([entry.name, with_interval(np.array(error.psnr)), with_interval(psnr),
                      f"{np.median(error.relative):.1e}", f"{max(error.relative):.1e}", f"{np.mean(calls):.0f}",
                      f"{np.mean(norms):.3f}", f"{(time.monotonic() - started) / count:.1f}"])
        print(table[-1], flush=True)
        if reports[0].steps[0].code:
            codes.append([entry.name, *(with_interval(np.array([norm for report in reports
                                                                for norm in report.steps[place].code]))
                                        for place in (0, 1, steps // 2, steps - 1))])
        if entry.key:
            figures |= {entry.key: float(np.mean(error.psnr)), f"picture_{entry.key}": float(np.mean(psnr)),
                        f"relative_{entry.key[5:]}": max(error.relative)}
        shown.append(decoded)
    print(f"\n{count} held-out pictures, {steps} steps, 95 % intervals over pictures\n")
    print_table(["method", "latent PSNR in dB", "picture PSNR in dB", "relative error, median", "worst", "calls",
                 "norm of z", "s per picture"], table)
    print("\nNorm of the codes over that of ordinary noise, by the step of the way back\n")
    print_table(["method", "the last", "the last but one", "in the middle", "the first"], codes)
    if arguments.sheet:
        names = ["decoded original", *[entry.name for entry in ENTRIES]]
        save_sheet([originals, *shown], names, "", arguments.sheet, cell=64, columns=16)
    write_figures(figures, arguments.json)


if __name__ == "__main__":
    main()
