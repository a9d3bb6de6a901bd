"""Train the demo checkpoint: first the autoencoder, then the denoiser on its latents.

    python demo/train.py autoencoder --data FOLDER --run FOLDER --comfyui PATH [--steps 2000]
    python demo/train.py denoiser    --data FOLDER --run FOLDER --comfyui PATH [--steps 4800] [--from-weights]

With --from-weights the denoiser goes on from the networks that this repository stores, counting their steps. Both
resume from their last saved state when started again, also with another number of steps: the learning rate is constant
after a warm-up and falls linearly over the last quarter of the steps that are asked for now. Everything is seeded; a
step's pictures, captions and noise depend only on the seed and the step's number. Runs on a GPU if there is one, else
on the CPU in bfloat16. The networks are ComfyUI's own classes, so that the weights need no conversion.
"""
from __future__ import annotations

import argparse
import copy
import math
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import weights
from dataset import Picture, load, sampling_weights, training_caption
from text_table import embed_captions

UNET_CONFIG = dict(
    image_size=32, in_channels=4, out_channels=4, model_channels=320, num_res_blocks=[1, 1], channel_mult=[1, 1],
    transformer_depth=[0, 1], transformer_depth_output=[0, 0, 0, 0], transformer_depth_middle=1, context_dim=768,
    num_heads=8, num_head_channels=-1, use_spatial_transformer=True, use_linear_in_transformer=False, legacy=False,
)
TRAIN_TIMESTEPS = 1000


class TrainableOperations:
    """The layer classes of torch.nn under the names that ComfyUI's networks ask for, initialised as usual."""

    Linear, Conv2d, GroupNorm, LayerNorm = torch.nn.Linear, torch.nn.Conv2d, torch.nn.GroupNorm, torch.nn.LayerNorm

    @staticmethod
    def conv_nd(dimensions: int, *arguments, **options) -> torch.nn.Module:
        return {1: torch.nn.Conv1d, 2: torch.nn.Conv2d, 3: torch.nn.Conv3d}[dimensions](*arguments, **options)


def import_comfyui(folder: Path) -> None:
    """Make `comfy` importable; ComfyUI reads its device from the command line, so that has to be its own."""
    sys.path.insert(0, str(folder))
    import comfy.options

    sys.argv = [sys.argv[0]] + ([] if torch.cuda.is_available() else ["--cpu"])
    comfy.options.enable_args_parsing()


def build_autoencoder() -> tuple[torch.nn.Module, torch.nn.Module]:
    from comfy.taesd.taesd import Decoder, Encoder

    encoder, decoder = Encoder(), Decoder()
    for module in (*encoder.modules(), *decoder.modules()):
        if isinstance(module, torch.nn.Conv2d):
            # ComfyUI's layers skip their initialisation because a checkpoint always follows.
            torch.nn.Conv2d.reset_parameters(module)
    return encoder, decoder


def build_unet() -> torch.nn.Module:
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    return UNetModel(**copy.deepcopy(UNET_CONFIG), operations=TrainableOperations)


def alphas_cumprod() -> torch.Tensor:
    """The noise schedule of Stable Diffusion 1.5 (scaled linear betas), (1000,)."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, TRAIN_TIMESTEPS, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, dim=0).float()


def learning_rate(step: int, steps: int, peak: float, warmup: int, origin: int) -> float:
    return peak * min(1.0, (step - origin + 1) / warmup, (steps - step) / (0.25 * steps))


def save_state(path: Path, **state) -> None:
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


def save_sheet(images: torch.Tensor, path: Path, columns: int = 8) -> None:
    """Write pictures (N, 3, H, W) in [0, 1] as one PNG."""
    from PIL import Image

    rows = [torch.cat(list(row), dim=2) for row in images.clamp(0, 1).split(columns) if len(row) == columns]
    sheet = torch.cat(rows, dim=1).permute(1, 2, 0)
    Image.fromarray((sheet * 255).round().byte().numpy()).save(path)


def draw_batch(pictures: list[Picture], cumulative: np.ndarray, batch: int, seed: int, step: int):
    """Indices of this step's pictures and the generator that goes on to draw their captions."""
    generator = np.random.default_rng((seed, step))
    return np.searchsorted(cumulative, generator.random(batch)).clip(max=len(pictures) - 1), generator


def prepare(arguments) -> tuple[list[Picture], np.ndarray, np.ndarray, torch.device]:
    pictures, images = load(arguments.data, arguments.size)
    training = [index for index, picture in enumerate(pictures) if not picture.held_out]
    pictures = [pictures[index] for index in training]
    arguments.run.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return pictures, images[training], np.cumsum(sampling_weights(pictures)), device


def optimise(model, peak, steps, warmup, state_path, loss_at_step, after_save, save_every=200, averaged=None, origin=0):
    """The loop both networks share: AdamW, gradient clipping, weight average, resumable state, log lines.

    `origin` is the number of steps that the networks have behind them when the optimiser is fresh.
    """
    optimiser = torch.optim.AdamW(model.parameters(), lr=peak, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    first = origin
    if state_path.exists():
        state = torch.load(state_path, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        averaged.load_state_dict(state["averaged"])
        first = state["step"]
        print(f"resumed at step {first}", flush=True)
    running, started = None, time.monotonic()
    for step in range(first, steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps, peak, warmup, origin)
        loss = loss_at_step(step)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        decay = min(0.999, (step - origin + 1) / (step - origin + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(averaged.parameters()), list(model.parameters()), 1 - decay)
        running = loss.item() if running is None else 0.98 * running + 0.02 * loss.item()
        if (step + 1) % 20 == 0:
            pace = (time.monotonic() - started) / (step + 1 - first)
            print(f"step {step + 1}/{steps} loss {running:.4f} {pace:.2f} s/step, {pace * (steps - step - 1) / 60:.0f} "
                  "min left",
                  flush=True)
        if (step + 1) % save_every == 0 or step + 1 == steps:
            save_state(state_path, step=step + 1, model=model.state_dict(), averaged=averaged.state_dict(),
                       optimiser=optimiser.state_dict())
            after_save(step + 1)


def train_autoencoder(arguments) -> None:
    pictures, images, cumulative, device = prepare(arguments)
    model = torch.nn.ModuleList(build_autoencoder()).to(device, memory_format=torch.channels_last)
    averaged = copy.deepcopy(model).requires_grad_(False)

    def loss_at_step(step: int) -> torch.Tensor:
        chosen, _ = draw_batch(pictures, cumulative, arguments.batch, arguments.seed, step)
        noise = torch.Generator().manual_seed(arguments.seed * 1_000_003 + step)
        target = torch.from_numpy(images[chosen]).to(device).permute(0, 3, 1, 2).float() / 255  # (B, 3, H, W)
        encoder, decoder = model
        with torch.autocast(device.type, torch.bfloat16):
            latent = encoder(target)
        latent = latent.float()
        # Unit variance is what the denoiser expects; a little noise makes the decoder smooth around the latents.
        spread, centre = latent.std(dim=(0, 2, 3)), latent.mean(dim=(0, 2, 3))
        noisy = latent + 0.05 * torch.randn(latent.shape, generator=noise).to(device)
        with torch.autocast(device.type, torch.bfloat16):
            decoded = decoder(noisy)
        error = decoded.float() - target
        # The same error on finite differences keeps edges crisp where plain L1 would settle for a blur.
        edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
        return error.abs().mean() + 0.5 * edges + error.square().mean() + 0.02 * ((spread - 1) ** 2 + centre**2).mean()

    def after_save(step: int) -> None:
        encoder, decoder = averaged
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
            sample = torch.from_numpy(images[:: len(images) // 32][:32]).to(device).permute(0, 3, 1, 2).float() / 255
            latent = encoder(sample).float()
            restored = decoder(latent).float().clamp(0, 1)
        psnr = -10 * math.log10((restored - sample).square().mean().item())
        print(f"step {step}: PSNR {psnr:.2f} dB on training pictures, latent std {latent.std(dim=(0, 2, 3)).tolist()}")
        save_sheet(torch.cat([sample, restored]).cpu(), arguments.run / "autoencoder.png", columns=16)

    optimise(model, 1e-3, arguments.steps, 100, arguments.run / "autoencoder.pt", loss_at_step, after_save,
             averaged=averaged)


@dataclass(frozen=True)
class StoredNetworks:
    """The networks of demo/weights.safetensors in fp32, under the names that this script's own modules have."""

    unet: dict[str, torch.Tensor]
    autoencoder: dict[str, torch.Tensor]
    autoencoder_steps: int
    unet_steps: int


def stored_networks() -> StoredNetworks:
    from safetensors import safe_open

    with safe_open(weights.PATH, framework="pt") as file:
        found = weights.dequantise({name: file.get_tensor(name) for name in file.keys()})
        header = file.metadata()
    parts: dict[str, dict[str, torch.Tensor]] = {"unet": {}, "encoder": {}, "decoder": {}}
    for name, value in found.items():
        part, _, key = name.partition(".")
        parts[part][key] = value.float()
    autoencoder = {f"{index}.{key}": value for index, part in enumerate(("encoder", "decoder"))
                   for key, value in parts[part].items()}
    return StoredNetworks(parts["unet"], autoencoder, int(header["autoencoder_steps"]), int(header["denoiser_steps"]))


@torch.no_grad()
def encode_all(encoder: torch.nn.Module, images: np.ndarray, device: torch.device) -> torch.Tensor:
    """Latents (N, 4, H/8, W/8) of uint8 pictures."""
    latents = []
    for chunk in torch.from_numpy(images).split(128):
        latents.append(encoder(chunk.to(device).permute(0, 3, 1, 2).float() / 255).cpu())
    return torch.cat(latents)


@torch.no_grad()
def preview(unet, decoder, captions: list[str], size: int, guidance: float = 4.0, steps: int = 20) -> torch.Tensor:
    """Pictures (N, 3, H, W) by deterministic DDIM with guidance, for looking at during training."""
    device = next(unet.parameters()).device
    context = embed_captions(captions).to(device)
    empty = embed_captions([""]).to(device).expand_as(context)
    cumulative = alphas_cumprod().to(device)
    times = torch.linspace(TRAIN_TIMESTEPS - 1, 0, steps + 1).long()[:-1]
    x = torch.randn(len(captions), 4, size // 8, size // 8, generator=torch.Generator().manual_seed(0)).to(device)
    for index, now in enumerate(times):
        alpha = cumulative[now]
        alpha_next = cumulative[times[index + 1]] if index + 1 < steps else torch.ones((), device=device)
        time_step = torch.full((2 * len(captions),), float(now), device=device)
        with torch.autocast(device.type, torch.bfloat16):
            both = unet(torch.cat([x, x]), time_step, context=torch.cat([context, empty])).float()
        conditional, unconditional = both.chunk(2)
        epsilon = unconditional + guidance * (conditional - unconditional)
        clean = (x - (1 - alpha).sqrt() * epsilon) / alpha.sqrt()
        x = alpha_next.sqrt() * clean + (1 - alpha_next).sqrt() * epsilon
    return decoder(x).float()


def train_denoiser(arguments) -> None:
    pictures, images, cumulative, device = prepare(arguments)
    stored = stored_networks() if arguments.from_weights else None
    if stored and not (arguments.run / "autoencoder.pt").exists():
        save_state(arguments.run / "autoencoder.pt", step=stored.autoencoder_steps, averaged=stored.autoencoder)
    autoencoder = torch.nn.ModuleList(build_autoencoder())
    autoencoder.load_state_dict(torch.load(arguments.run / "autoencoder.pt", weights_only=True)["averaged"])
    encoder, decoder = autoencoder.to(device)
    cache = arguments.run / "latents.pt"
    if not cache.exists():
        save_state(cache, latents=encode_all(encoder, images, device))
    latents = torch.load(cache, weights_only=True)["latents"]  # (N, 4, H/8, W/8)
    print(f"{len(latents)} latents, std {latents.std(dim=(0, 2, 3)).tolist()}", flush=True)
    torch.manual_seed(arguments.seed)
    unet = build_unet().to(device, memory_format=torch.channels_last)
    if stored:
        unet.load_state_dict(stored.unet)
    averaged = copy.deepcopy(unet).requires_grad_(False)
    print(f"{sum(p.numel() for p in unet.parameters()) / 1e6:.1f} M parameters", flush=True)
    schedule = alphas_cumprod()
    signal_to_noise = schedule / (1 - schedule)
    # Min-SNR weighting (gamma 5) of the loss on the predicted noise.
    importance = signal_to_noise.clamp(max=5.0) / signal_to_noise

    def loss_at_step(step: int) -> torch.Tensor:
        chosen, generator = draw_batch(pictures, cumulative, arguments.batch, arguments.seed, step)
        captions = [training_caption(pictures[index], generator) for index in chosen]
        draws = torch.Generator().manual_seed(arguments.seed * 1_000_003 + step)
        batch = len(chosen)
        clean = latents[torch.from_numpy(chosen)]  # (B, 4, h, w)
        strata = (torch.arange(batch) + torch.rand(batch, generator=draws)) / batch
        times = (strata * TRAIN_TIMESTEPS).long().clamp(max=TRAIN_TIMESTEPS - 1)  # (B,)
        noise = torch.randn(clean.shape, generator=draws)
        alpha = schedule[times][:, None, None, None]
        noisy = alpha.sqrt() * clean + (1 - alpha).sqrt() * noise
        context = embed_captions(captions).to(device)  # (B, 77, 768)
        with torch.autocast(device.type, torch.bfloat16):
            predicted = unet(noisy.to(device), times.float().to(device), context=context)
        error = (predicted.float() - noise.to(device)).square().mean(dim=(1, 2, 3))  # (B,)
        return (error * importance[times].to(device)).mean()

    captions = ["woman", "man health worker dark skin tone", "red apple", "cat face", "dog", "red heart", "house",
                "car", "grinning face", "pizza", "banana", "tree", "fish", "bird", "rocket", "guitar"]

    def after_save(step: int) -> None:
        images = preview(averaged, decoder, captions * 2, arguments.size)
        save_sheet(images.cpu(), arguments.run / "denoiser.png", columns=16)

    optimise(unet, arguments.peak, arguments.steps, 200, arguments.run / "denoiser.pt", loss_at_step, after_save,
             averaged=averaged, origin=stored.unet_steps if stored else 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("autoencoder", "denoiser"))
    parser.add_argument("--data", type=Path, required=True, help="folder of the icon sets (demo/dataset.py)")
    parser.add_argument("--run", type=Path, required=True, help="folder of this training's states and previews")
    parser.add_argument("--comfyui", type=Path, required=True, help="a ComfyUI folder, for its network classes")
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--batch", type=int, default=None)
    parser.add_argument("--size", type=int, default=64, help="side of the pictures in pixels")
    parser.add_argument("--peak", type=float, default=5e-4, help="highest learning rate of the denoiser")
    parser.add_argument("--from-weights", action="store_true", help="start the denoiser from demo/weights.safetensors")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    defaults = {"autoencoder": (2000, 24), "denoiser": (4800, 64)}[arguments.part]
    arguments.steps = arguments.steps or defaults[0]
    arguments.batch = arguments.batch or defaults[1]
    import_comfyui(arguments.comfyui)
    torch.manual_seed(arguments.seed)
    {"autoencoder": train_autoencoder, "denoiser": train_denoiser}[arguments.part](arguments)


if __name__ == "__main__":
    main()
