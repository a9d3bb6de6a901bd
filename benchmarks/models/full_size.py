"""What works at full size and what it costs: SD1.5, SDXL and SD3 medium with random weights.

Random weights give no pictures, but every pass costs what it costs with real ones. Two tables:

1. Each model in bf16 and fp16, with dynamic VRAM and without, from a file by ComfyUI's own loader: a KSampler run, and
   then gradients against finite differences, alignment, mean shift, Gauss-Newton and a preview, with seconds and the
   most memory of the card that was in use (_loaded.py). Without a GPU: small models of the same classes, in fp32.
2. What matching costs by micro-batch. Every case runs in a process of its own: 20 iterations of L-BFGS for a
   micro-batch of latents at one aligned step, to a target that they cannot reach, through the same Denoiser that
   AlignTrajectories uses, and its gradient self-test afterwards. Without a GPU only SD1.5, with latents of 32 x 32 and
   weights in fp32, and memory is the largest resident size of the process; with one latents have their full size,
   weights are bf16, and memory is the most that was allocated.

With --seconds what has not begun by then is left out, and said to be. The exit code tells whether anything failed.
"""
from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from _loaded import COLUMNS, SMALL, Case, run_cases
from support import ARCHITECTURES, parse_arguments, print_table, random_model, random_prompt, write_figures

import pack

ITERATIONS = 20
# Dynamic VRAM has to be there before torch is loaded, as in ComfyUI's main.py.
START = """
import pathlib, runpy, sys

vram, *sys.argv = sys.argv[1:]
if vram == "dynamic":
    import comfy_aimdo.control

    if not comfy_aimdo.control.init():
        sys.exit("comfy-aimdo, which dynamic VRAM needs, does not load here")
sys.path.insert(0, str(pathlib.Path(sys.argv[0]).parent))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


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


def loaded_models(until: float) -> tuple[list[list[str]], bool]:
    """Rows of the first table, and whether something failed."""
    on_gpu = torch.cuda.is_available()
    cases = ([{"name": name, "dtype": dtype, "size": ARCHITECTURES[name].size, "small": False}
              for dtype in ("bfloat16", "float16") for name in ARCHITECTURES] if on_gpu
             else [{"name": name, "dtype": "float32", "size": 16, "small": True} for name in SMALL])
    rows, failed = [], False
    with tempfile.TemporaryDirectory() as folder:
        for dynamic in (True, False) if on_gpu else (False,):
            given = {"cases": cases, "dynamic": dynamic, "folder": folder, "until": until}
            process = subprocess.Popen([sys.executable, "-c", START, "dynamic" if dynamic else "static", __file__,
                                        "--loaded", json.dumps(given)], stdout=subprocess.PIPE, text=True)
            told = 0
            for line in process.stdout:
                if not line.startswith("{"):
                    continue
                found, told = json.loads(line), told + 1
                print(line.strip(), flush=True)
                failed |= any(str(value).startswith("failed") or name == "failed" for name, value in found.items())
                rest = found.get("failed") or found.get("left out", "")
                rows.append([found["name"], found["dtype"], "on" if dynamic else "off",
                             *(found.get(column, rest) for column in COLUMNS)])
            if process.wait() or told < len(cases):
                failed = True
                rows.append(["", "", "on" if dynamic else "off", f"failed: the process ended with {process.returncode}",
                             *[""] * (len(COLUMNS) - 1)])
    return rows, failed


def matching(until: float, quick: bool) -> tuple[list[list[str]], dict[str, float], bool]:
    """Rows of the second table, its figures, and whether a case failed."""
    on_gpu = torch.cuda.is_available()
    names, batches = ((list(ARCHITECTURES), (1, 2, 4, 8)) if on_gpu else (["SD15"], (1,) if quick else (1, 2, 4)))
    rows, figures, failed = [], {}, False
    for name in names:
        for save_memory in (False, True):
            for batch in batches:
                if time.time() > until:
                    return [*rows, [name, "", f"{batch}", "", "the rest is left out", "", "", ""]], figures, failed
                case = {"name": name, "size": ARCHITECTURES[name].size if on_gpu else 32, "batch": batch,
                        "save_memory": save_memory}
                done = subprocess.run([sys.executable, __file__, "--case", json.dumps(case)], capture_output=True,
                                      text=True)
                if done.returncode:
                    failed = True
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
    return rows, figures, failed


def main() -> None:
    arguments = parse_arguments(__doc__.splitlines()[0], case=dict(help="used by the script itself"),
                                loaded=dict(help="used by the script itself"),
                                part=dict(choices=("all", "loaded", "matching"), default="all",
                                          help="which of the two tables"),
                                seconds=dict(type=float, default=float("inf"), help="begin nothing after that time"))
    if arguments.case:
        print(json.dumps(run_case(**json.loads(arguments.case))))
        return
    if arguments.loaded:
        given = json.loads(arguments.loaded)
        run_cases([Case(**case) for case in given["cases"]], given["dynamic"], Path(given["folder"]), given["until"])
        return
    until, failed, figures = min(time.time() + arguments.seconds, 1e12), False, {}
    print(f"{torch.cuda.get_device_name() if torch.cuda.is_available() else 'no GPU'}, {torch.get_num_threads()} "
          "threads", flush=True)
    if arguments.part != "matching":
        rows, failed = loaded_models(until)
        print()
        print_table(["model", "type", "dynamic VRAM", *COLUMNS], rows)
    if arguments.part != "loaded":
        rows, figures, unmatched = matching(until, arguments.quick)
        failed = failed or unmatched
        print(f"\n{ITERATIONS} iterations of L-BFGS\n")
        print_table(["model", "latent size", "micro-batch", "save_memory", "s per latent", "peak GiB",
                     "of which matching", "gradient self-test"], rows)
    write_figures({**figures, "failures": float(failed)}, arguments.json)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
