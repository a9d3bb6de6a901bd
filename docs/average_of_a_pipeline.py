"""The mental average of a prompt, by a diffusers pipeline and without ComfyUI.

    python docs/average_of_a_pipeline.py FOLDER PROMPT OUTPUT.png [--count 64] [--keep 4] [--size 512] ...

FOLDER holds a pipeline of Stable Diffusion 1.x, 2.x, SDXL or 3, as DiffusionPipeline.save_pretrained writes it.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from dma import alignment, models


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of the pipeline")
    parser.add_argument("prompt")
    parser.add_argument("output", type=Path, help="a picture file; all averages side by side")
    parser.add_argument("--negative", default="", help="what guidance leads away from")
    parser.add_argument("--count", type=int, default=64, help="K, how many trajectories are averaged")
    parser.add_argument("--keep", type=int, default=4,
                        help="how many aligned trajectories are finished; they should look alike")
    parser.add_argument("--preset", choices=list(alignment.PRESETS), default="standard",
                        help="how much work goes into it")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=7.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, help="pixels of a side; the pipeline's own if left out")
    arguments = parser.parse_args()

    from diffusers import DiffusionPipeline

    on_gpu = torch.cuda.is_available()
    pipe = DiffusionPipeline.from_pretrained(arguments.folder, local_files_only=True,
                                             torch_dtype=torch.float16 if on_gpu else torch.float32)
    pipe.to("cuda" if on_gpu else "cpu")
    network = getattr(pipe, "transformer", None) or pipe.unet
    size = arguments.size or network.config.sample_size * pipe.vae_scale_factor
    denoiser = models.from_pipeline(pipe, arguments.prompt, negative_prompt=arguments.negative,
                                    guidance_scale=arguments.guidance, size=(size, size))
    shape = (network.config.in_channels, size // pipe.vae_scale_factor, size // pipe.vae_scale_factor)
    settings = alignment.PRESETS[arguments.preset].apply(
        alignment.AlignmentSettings(count=arguments.count, keep=arguments.keep, seed=arguments.seed), arguments.steps)
    average = alignment.align(denoiser, models.ddim_sigmas(pipe.scheduler, arguments.steps), shape, settings)
    for step in average.report.steps:
        print(f"sigma {step.sigma:.2f}: residual {sum(step.residual_after) / len(step.residual_after):.4f}, "
              f"error of the mean {step.mean_error:.4f}")

    vae = pipe.vae
    latents = average.latents / vae.config.scaling_factor + (getattr(vae.config, "shift_factor", None) or 0)
    with torch.no_grad():
        decoded = vae.decode(latents.to(vae.device, vae.dtype)).sample  # (keep, 3, H, W)
    pictures = pipe.image_processor.postprocess(torch.cat(list(decoded), dim=2)[None])
    pictures[0].save(arguments.output)


if __name__ == "__main__":
    main()
