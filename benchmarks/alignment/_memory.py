"""The most memory that a recipe needs, for alignment_speed.py."""
from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

from _passes import BATCH
from support import GUIDANCE, DemoModel, plain_samples, preset_settings, shifted_average

from mental_averages.dma.alignment import align
from mental_averages.dma.execution import BatchSize

STANDARD, SHIFTED, PLAIN = "standard", "mean-shift", "plain"
MEASURED = {"standard_32": (STANDARD, 32), "standard_1000": (STANDARD, 1000), "mean_shift_32": (SHIFTED, 32),
            "mean_shift_1000": (SHIFTED, 1000), "plain": (PLAIN, BATCH)}


def memory_of(concept: str, recipe: str, count: int) -> None:
    """In a process of its own: an average of exactly `count` latents, or so many plain samples, then the most memory it
    had as the last line, in MiB."""
    demo = DemoModel()

    def run(denoiser, sigmas) -> None:
        # The kernel's own high-water mark, which loading the model has raised, starts anew.
        Path("/proc/self/clear_refs").write_text("5")
        if recipe == PLAIN:
            plain_samples(denoiser, sigmas, demo.shape, count, 0, BATCH)
        elif recipe == SHIFTED:
            shifted_average(denoiser, sigmas, demo.shape, GUIDANCE, 0, count=count)
        else:
            settings = dataclasses.replace(preset_settings(recipe, count), mean_error=0.0)
            align(denoiser, sigmas, demo.shape, settings, batch=BatchSize(BATCH))

    demo.with_denoiser(concept, GUIDANCE, run)
    high_water = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(int(high_water.split()[1]) / 1024)


def memory_figures(script: str) -> dict[str, float]:
    """Peak memory of each recipe, of a process on the CPU, and its ratios. Linux alone tells it."""
    peaks = {name: float(subprocess.run([sys.executable, script, "--memory-of", recipe, str(count)], check=True,
                                        capture_output=True, text=True).stdout.split()[-1])
             for name, (recipe, count) in MEASURED.items()}
    print(f"\npeak memory of the process, MiB, in batches of {BATCH}: "
          + ", ".join(f"{name} {peak:.0f}" for name, peak in peaks.items()))
    return {"memory_ratio": peaks["standard_1000"] / peaks["standard_32"],
            "memory_ratio_mean_shift": peaks["mean_shift_1000"] / peaks["mean_shift_32"],
            "memory_mean_shift_over_plain": peaks["mean_shift_32"] / peaks["plain"]}
