"""The costs of an alignment on the full architectures of SD1.5, SDXL and SD3 medium, with random weights: needs a GPU.

Random weights give no pictures and residuals without meaning, so that presets iterate as long as they may; but every
pass costs what it costs with real ones.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from _common import SCHEDULER, STEPS, pack, print_table
from _passes import timed
from _speed_work import measure_work, work_table

COMMON = dict(image_size=32, in_channels=4, out_channels=4, model_channels=320, use_spatial_transformer=True,
              legacy=False, use_temporal_attention=False, use_temporal_resblock=False)


@dataclass(frozen=True)
class Architecture:
    """A network as ComfyUI builds it, its usual latents (C, H, H), a micro-batch for a large GPU, and the widths of its
    prompts."""

    network: dict
    channels: int
    size: int
    batch: int
    width: int
    pooled: int | None


ARCHITECTURES = {
    "SD15": Architecture(dict(
        COMMON, num_res_blocks=[2, 2, 2, 2], transformer_depth=[1, 1, 1, 1, 1, 1, 0, 0], channel_mult=[1, 2, 4, 4],
        transformer_depth_output=[1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0], transformer_depth_middle=1, context_dim=768,
        use_linear_in_transformer=False, num_heads=8, num_head_channels=-1, adm_in_channels=None), 4, 64, 4, 768, None),
    "SDXL": Architecture(dict(
        COMMON, num_res_blocks=[2, 2, 2], transformer_depth=[0, 0, 2, 2, 10, 10], channel_mult=[1, 2, 4],
        transformer_depth_output=[0, 0, 0, 2, 2, 2, 10, 10, 10], transformer_depth_middle=10, context_dim=2048,
        use_linear_in_transformer=True, num_heads=-1, num_head_channels=64, adm_in_channels=2816,
        num_classes="sequential"), 4, 128, 1, 2048, 1280),
    "SD3": Architecture(dict(
        in_channels=16, patch_size=2, depth=24, input_size=None, num_patches=192**2, pos_embed_max_size=192,
        adm_in_channels=2048,
        context_embedder_config=dict(target="torch.nn.Linear", params=dict(in_features=4096, out_features=1536)),
        pos_embed_scaling_factor=None, x_block_self_attn_layers=[]), 16, 128, 1, 4096, 2048),
}


def random_model(name: str, dtype: torch.dtype, device: torch.device, **changes: Any) -> Any:
    """A MODEL of an architecture with random weights of unit gain."""
    import comfy.model_patcher
    import comfy.supported_models

    config = getattr(comfy.supported_models, name)({**ARCHITECTURES[name].network, **changes, "dtype": dtype})
    torch.manual_seed(0)
    model = config.get_model({}, device=device)
    for parameter in model.diffusion_model.parameters():
        parameter.data.normal_(std=0.1 if parameter.ndim == 1 else parameter[0].numel() ** -0.5)
    return comfy.model_patcher.ModelPatcher(model, load_device=device, offload_device=device)


def prompt(name: str) -> list:
    """The CONDITIONING of random numbers for an architecture."""
    generator, architecture = torch.Generator().manual_seed(0), ARCHITECTURES[name]
    options = {"pooled_output": torch.randn(1, architecture.pooled, generator=generator)} if architecture.pooled else {}
    return [[torch.randn(1, 77, architecture.width, generator=generator), options]]


class RandomModel:
    """An architecture with random weights in the place of a DemoModel; its prompt is always the same random numbers."""

    def __init__(self, name: str, dtype: torch.dtype, device: torch.device, size: int, **changes: Any) -> None:
        self.model, self.conditioning = random_model(name, dtype, device, **changes), prompt(name)
        self.shape = (ARCHITECTURES[name].channels, size, size)

    def with_denoiser(self, prompt: str, guidance_scale: float, function: Callable) -> Any:
        from mental_averages.nodes import comfyui

        sigmas = comfyui.sigmas_of(self.model, SCHEDULER, STEPS)
        return comfyui.with_denoiser(self.model, self.conditioning, self.conditioning, guidance_scale, sigmas,
                                         self.shape, 0, lambda denoiser: function(denoiser, sigmas))


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
                profile: bool = True,
                **changes: Any) -> list[str]:
    """A row of the table: milliseconds per latent of each kind of pass, memory, and the share of the matrix rate."""
    from torch.utils.flop_counter import FlopCounterMode

    from mental_averages.nodes import comfyui

    model = random_model(name, dtype, device, **changes)
    conditioning, channels = prompt(name), ARCHITECTURES[name].channels

    def run(denoiser) -> list[str]:
        sigma = 10.0
        x = torch.randn(batch, channels, size, size, device=device) * sigma

        def both():
            leaf = x.clone().requires_grad_()
            with torch.enable_grad():
                torch.autograd.grad(denoiser.features(leaf, sigma).square().mean(), leaf)

        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        forward, matched, prediction = (seconds_of(function) / batch for function in (
            lambda: denoiser.features(x, sigma), both, lambda: denoiser.denoise(x, sigma)))
        memory = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else 0.0
        with FlopCounterMode(display=False) as counter:
            both()
        achieved = counter.get_total_flops() / batch / matched
        row = [name, str(dtype).removeprefix("torch."), f"{size}", f"{batch}", f"{1000 * forward:.1f}",
               f"{1000 * (matched - forward):.1f}",
                     f"{1000 * prediction:.1f}", f"{memory:.1f}", f"{achieved / 1e12:.1f}", f"{rate / 1e12:.1f}",
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
