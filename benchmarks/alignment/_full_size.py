"""The costs of an alignment on the full architectures of SD1.5, SDXL and SD3 medium, with random weights: needs a GPU.

Random weights give no pictures and residuals without meaning, so that presets iterate as long as they may; but every
pass costs what it costs with real ones.
"""
from __future__ import annotations

from typing import Any

import torch
from _work import measure_work, work_table
from support import ARCHITECTURES, RandomModel, print_table, random_model, random_prompt, timed, with_gradient

import pack


def matrix_rate(dtype: torch.dtype, device: torch.device, size: int = 8192) -> float:
    """Floating-point operations per second of large matrix products: what the device can do at most."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / seconds_of(lambda: a @ b)


def seconds_of(function, repeats: int = 5) -> float:
    def repeated() -> None:
        for _ in range(repeats):
            function()

    function()
    return timed(repeated)[0] / repeats


def measure_one(name: str, dtype: torch.dtype, device: torch.device, rate: float, size: int, batch: int,
                profile: bool = True, **changes: Any) -> list[str]:
    """A row of the table: milliseconds per latent of each kind of pass, memory, and the share of the matrix rate."""
    from torch.utils.flop_counter import FlopCounterMode

    from mental_averages.nodes import comfyui

    model = random_model(name, dtype, device, **changes)
    conditioning, channels = random_prompt(name), ARCHITECTURES[name].channels

    def run(denoiser) -> list[str]:
        sigma = 10.0
        x = torch.randn(batch, channels, size, size, device=device) * sigma

        def both():
            return with_gradient(lambda latents: denoiser.features(latents, sigma), x)

        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        forward, matched, prediction = (seconds_of(function) / batch for function in (
            lambda: denoiser.features(x, sigma), both, lambda: denoiser.denoise(x, sigma)))
        memory = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else 0.0
        with FlopCounterMode(display=False) as counter:
            both()
        achieved = counter.get_total_flops() / batch / matched
        row = [name, str(dtype).removeprefix("torch."), f"{size}", f"{batch}", f"{1000 * forward:.1f}",
               f"{1000 * (matched - forward):.1f}", f"{1000 * prediction:.1f}", f"{memory:.1f}",
               f"{achieved / 1e12:.1f}", f"{rate / 1e12:.1f}",
               f"{100 * achieved / rate:.0f} %"]
        if profile:
            with torch.profiler.profile(activities=list(torch.profiler.supported_activities())) as found:
                both()
            key = "self_cuda_time_total" if device.type == "cuda" else "self_cpu_time_total"
            print(f"\n{name} {dtype}: where one match's forward and backward pass spend their time\n")
            print(found.key_averages().table(sort_by=key, row_limit=8, max_name_column_width=50))
        return row

    return comfyui.with_denoiser(model, conditioning, conditioning, 7.0, torch.tensor([10.0, 0.0]),
                                 (channels, size, size), 0, run)


def measure() -> None:
    """Print the tables of the full sizes, or say that they are missing."""
    if not torch.cuda.is_available():
        print("\nfull size (SD1.5, SDXL and SD3 medium in bf16): missing, there is no GPU here\n")
        return
    pack.load_comfyui()
    device, dtype = torch.device("cuda"), torch.bfloat16
    rate = matrix_rate(dtype, device)
    rows = [measure_one(name, dtype, device, rate, full.size, full.batch) for name, full in ARCHITECTURES.items()]
    print(f"\n{torch.cuda.get_device_name()}, random weights, milliseconds per latent\n")
    print_table(["model", "type", "latent size", "batch", "truncated forward", "its backward", "guided prediction",
                 "GiB", "achieved TFLOP/s", "matrix rate TFLOP/s", "share"], rows)
    for name in ("SD15", "SDXL"):
        full = ARCHITECTURES[name]
        subject = RandomModel(name, dtype, device, full.size)
        work_table({256: measure_work(subject, [f"{name} with random weights"], 256, 1, full.batch,
                                      naive_rows=full.batch)},
                   [f"{name} with random weights"])
