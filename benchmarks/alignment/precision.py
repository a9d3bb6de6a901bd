"""Alignment of the demo model with weights in fp32, bf16 and fp16: residuals, and how far the final pictures are apart.

The same seeds, so that every difference is the precision's. "To fp32" is the mean distance (1 - cosine in the judge's
features) of each picture to the one that fp32 made; "between seeds" is the distance that pictures of fp32 have anyway.
A CPU computes fp16 about twenty times slower than fp32, so there it is measured on the first concept alone.
"""
from __future__ import annotations

import numpy as np
import torch
from support import (
    GUIDANCE,
    DemoModel,
    FeatureSpace,
    pairwise_distance,
    parse_arguments,
    preset_settings,
    print_table,
    with_interval,
    write_figures,
)

from mental_averages.dma.alignment import AlignmentSettings, align
from mental_averages.dma.execution import BatchSize
from mental_averages.dma.models import check_gradient

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
CONCEPTS = ["red heart", "cat face", "woman", "red apple", "umbrella", "house"]


def in_precision(dtype: torch.dtype) -> DemoModel:
    """The demo model with its weights, and with them its computation, in another precision."""
    demo = DemoModel()
    with torch.inference_mode():
        network = demo.model.model.diffusion_model.to(dtype)
    network.dtype, demo.model.model.manual_cast_dtype = dtype, None
    return demo


def averages(demo: DemoModel, concept: str, settings: list[AlignmentSettings]) -> tuple[torch.Tensor, float, float]:
    """Pictures (seeds, H, W, 3) of one concept, their mean final residual, and the error of the gradient self-test."""
    def run(denoiser, sigmas):
        error = check_gradient(denoiser, demo.shape, sigmas[0].item())
        return error, [align(denoiser, sigmas, demo.shape, choice, batch=BatchSize(32)) for choice in settings]

    error, found = demo.with_denoiser(concept, GUIDANCE, run)
    return (torch.cat([demo.decode(average.latents) for average in found]),
            float(np.mean([average.report.final_residual for average in found])), error)


def main() -> None:
    arguments = parse_arguments(__doc__.splitlines()[0])
    concepts, seeds, count = (CONCEPTS[:2], 2, 4) if arguments.quick else (CONCEPTS, 4, 16)
    settings = [preset_settings("standard", count, seed) for seed in range(seeds)]
    judge, rows, figures, references = FeatureSpace(), [], {}, {}
    for name, dtype in PRECISIONS.items():
        demo, measured = in_precision(dtype), []
        slow = dtype is torch.float16 and demo.model.load_device.type == "cpu"
        for concept in concepts[:1] if slow else concepts:
            pictures, residual, error = averages(demo, concept, settings)
            features = judge(pictures)
            reference = references.setdefault(concept, features)
            measured.append([residual, error, float(1 - (features * reference).sum(1).mean()),
                             pairwise_distance(reference)])
        residual, error, distance, between = np.array(measured).T
        rows.append([name, str(len(measured)), with_interval(residual), f"{error.max():.1e}", with_interval(distance),
                     with_interval(between)])
        print(rows[-1], flush=True)
        figures |= {f"residual_{name}": residual.mean(), f"gradient_error_{name}": error.max(),
                    f"to_fp32_{name}": distance.mean()}
    print()
    print_table(["weights", "concepts", "final residual", "largest gradient error", "pictures to fp32",
                 "between seeds, fp32"], rows)
    write_figures({key: float(value) for key, value in figures.items()}, arguments.json)


if __name__ == "__main__":
    main()
