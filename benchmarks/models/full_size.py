"""What matching costs at full size: SD1.5 (with a GPU also SDXL and SD3 medium) with random weights, by micro-batch.

Every case runs in a process of its own: 20 iterations of L-BFGS for a micro-batch of latents at one aligned step, to a
target that they cannot reach, through the same Denoiser that AlignTrajectories uses, and its gradient self-test
afterwards. Random weights give no pictures, but every pass costs what it costs with real ones. Without a GPU latents
are 32 x 32, weights fp32, and memory is the largest resident size of the process; with one latents have their full
size, weights are bf16, and memory is the most that was allocated.
"""
from __future__ import annotations

import json
import subprocess
import sys
import time

import torch
from support import ARCHITECTURES, parse_arguments, print_table, random_model, random_prompt, write_figures

import pack

ITERATIONS = 20


def memory(device: torch.device) -> float:
    """GiB in use now."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated() / 2**30
    import psutil

    return psutil.Process().memory_info().rss / 2**30


def peak_memory(device: torch.device) -> float:
    """GiB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def run_case(name: str, size: int, batch: int, save_memory: bool) -> dict[str, float]:
    pack.load_comfyui()
    from mental_averages.dma.diffusion import Parametrization
    from mental_averages.dma.models import check_gradient
    from mental_averages.dma.solvers import LBFGS
    from mental_averages.nodes import comfyui

    on_gpu = torch.cuda.is_available()
    device, dtype = torch.device("cuda" if on_gpu else "cpu"), torch.bfloat16 if on_gpu else torch.float32
    model, conditioning = random_model(name, dtype, device), random_prompt(name)
    shape = (ARCHITECTURES[name].channels, size, size)
    parametrization = comfyui.parametrization_of(model)
    sigma = 0.8 if parametrization is Parametrization.FLOW else 5.0

    def run(denoiser) -> dict[str, float]:
        x = (sigma * torch.randn(batch, *shape, generator=torch.Generator().manual_seed(0))).to(device)
        other = sigma * torch.randn(1, *shape, generator=torch.Generator().manual_seed(1))
        target = (denoiser.features(x[:1], sigma) + denoiser.features(other.to(device), sigma))[0] / 2  # (C, h, w)
        before, started = memory(device), time.monotonic()
        match = LBFGS(iterations=ITERATIONS).solve(lambda latents: denoiser.features(latents, sigma), x, target)
        return {"seconds": time.monotonic() - started, "before": before, "peak": peak_memory(device),
                "residual": float(match.residual_after.mean() / match.residual_before.mean()),
                "gradient_error": check_gradient(denoiser, shape, sigma)}

    return comfyui.with_denoiser(model, conditioning, conditioning, 7.0, torch.tensor([sigma, 0.0]), shape, 0, run,
                                 save_memory=save_memory)


def main() -> None:
    arguments = parse_arguments(__doc__.splitlines()[0], case=dict(help="used by the script itself"))
    if arguments.case:
        print(json.dumps(run_case(**json.loads(arguments.case))))
        return
    on_gpu = torch.cuda.is_available()
    names, batches = ((list(ARCHITECTURES), (1, 2, 4, 8)) if on_gpu
                      else (["SD15"], (1,) if arguments.quick else (1, 2, 4)))
    rows, figures = [], {}
    for name in names:
        for save_memory in (False, True):
            for batch in batches:
                case = {"name": name, "size": ARCHITECTURES[name].size if on_gpu else 32, "batch": batch,
                        "save_memory": save_memory}
                done = subprocess.run([sys.executable, __file__, "--case", json.dumps(case)], capture_output=True,
                                      text=True)
                if done.returncode:
                    rows.append([name, f"{case['size']}", f"{batch}", "yes" if save_memory else "no",
                                 (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1], "", "",
                                 ""])
                    continue
                found = json.loads(done.stdout.strip().splitlines()[-1])
                rows.append([name, f"{case['size']}", f"{batch}", "yes" if save_memory else "no",
                             f"{found['seconds'] / batch:.1f}", f"{found['peak']:.2f}",
                             f"{found['peak'] - found['before']:.2f}", f"{found['gradient_error']:.1e}"])
                key = f"{name.lower()}_batch_{batch}{'_saving' if save_memory else ''}"
                figures |= {f"seconds_{key}": found["seconds"] / batch, f"peak_gib_{key}": found["peak"]}
                print(rows[-1], flush=True)
    print(f"\n{torch.cuda.get_device_name() if on_gpu else 'no GPU'}, {torch.get_num_threads()} threads, {ITERATIONS} "
          "iterations of L-BFGS\n")
    print_table(["model", "latent size", "micro-batch", "save_memory", "s per latent", "peak GiB", "of which matching",
                 "gradient self-test"], rows)
    write_figures(figures, arguments.json)


if __name__ == "__main__":
    main()
