"""The average of a prompt by workers on Ray: several cores, cards or machines.

    python docs/average_on_ray.py FOLDER PROMPT OUTPUT.safetensors [--workers 2] [--cpus 1] [--gpus 0] [--states FOLDER]

FOLDER holds a diffusers pipeline, at the same place for every worker. Without RAY_ADDRESS a Ray is started on this
machine and ended again; with it, the cluster that runs there does the work. The latents are written as `latents`.
"""
from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from dma import alignment, execution
from dma.distributed import PipelineSource, RayWorkers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of the pipeline")
    parser.add_argument("prompt")
    parser.add_argument("output", type=Path, help="a safetensors file for the latents")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cpus", type=float, default=1, help="cores of each worker")
    parser.add_argument("--gpus", type=float, default=0, help="cards of each worker")
    parser.add_argument("--count", type=int, default=64, help="K, how many trajectories are averaged")
    parser.add_argument("--preset", choices=list(alignment.PRESETS), default="standard")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=7.0)
    parser.add_argument("--shape", type=int, nargs=3, default=(4, 64, 64), help="channels, height, width of a latent")
    parser.add_argument("--batch", type=int, default=4, help="latents per model call")
    parser.add_argument("--states", type=Path, help="where the state is kept, to go on from after an interrupt")
    arguments = parser.parse_args()

    from diffusers import DDIMScheduler
    from safetensors.torch import save_file

    from dma import models

    folder = str(arguments.folder.resolve())
    sigmas = models.ddim_sigmas(DDIMScheduler.from_pretrained(folder, subfolder="scheduler"), arguments.steps)
    settings = alignment.PRESETS[arguments.preset].apply(alignment.AlignmentSettings(count=arguments.count),
                                                         arguments.steps)
    source = PipelineSource(folder, arguments.prompt, guidance_scale=arguments.guidance,
                            precision="float16" if arguments.gpus else "float32")
    with RayWorkers(source, arguments.workers, cpus=arguments.cpus, gpus=arguments.gpus) as workers:
        denoiser = workers.denoiser()
        place = saved_place(arguments, denoiser, sigmas) if arguments.states else None
        average = alignment.align(
            denoiser, sigmas, tuple(arguments.shape), settings, batch=execution.BatchSize(arguments.batch),
            watchers=[*([execution.Checkpoint(place)] if place else []),
                      alignment.Monitor(lambda progress: print(f"{progress.fraction:.0%} {progress.message}",
                                                               flush=True), settings, sigmas)],
            state=execution.resumed(alignment.State.unpacked, place))
    save_file({"latents": average.latents}, arguments.output)
    print(f"residual {average.report.final_residual:.4f}, {average.report.seconds:.0f} s")


def saved_place(arguments: argparse.Namespace, denoiser, sigmas: torch.Tensor) -> execution.RunState:
    """Where the state of this run is kept: by its settings, and by what the model answers."""
    from dma import models

    named = {name: value for name, value in vars(arguments).items() if name not in (
        "workers", "cpus", "output", "states")}  # of which results do not depend
    key = execution.run_key(json.loads(json.dumps({**named, "algorithm": alignment.ALGORITHM}, default=str)), {})
    answers = models.fingerprint(denoiser, sigmas[:-1].tolist(), tuple(arguments.shape))
    return execution.RunState(arguments.states, key, answers)


if __name__ == "__main__":
    main()
