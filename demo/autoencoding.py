"""Training of the demo's autoencoder, and of its decoder alone when the latents are to stay what they are."""
from __future__ import annotations

import argparse
import copy
from collections.abc import Callable

import torch
from torch import Tensor

import latents
import networks
import training
from optimise import check_state, optimise

NOISE = 0.05  # that is added to latents, and makes the decoder smooth around them
LOOKED_AT = 256  # pictures that a PSNR is the mean of


def preview_error(latent: Tensor, target: Tensor) -> Tensor:
    """How far ComfyUI's small previews of Stable Diffusion 1.5's latents are from the pictures, squared, mean.

    latent (B, 4, H/8, W/8), target (B, 3, H, W) in [0, 1]. The preview is a fixed linear map of the four channels to
    red, green and blue in [-1, 1]: with latents that it fits, previews have the pictures' colours.
    """
    from comfy.latent_formats import SD15

    factors = torch.tensor(SD15().latent_rgb_factors, device=latent.device)  # (4, 3)
    shown = torch.einsum("bchw,cd->bdhw", latent, factors)
    return ((shown + 1) / 2 - torch.nn.functional.avg_pool2d(target, 8)).square().mean()


def picture_error(decoded: Tensor, target: Tensor, relative: float) -> Tensor:
    """The mean error of pictures (B, 3, H, W) beside their targets in [0, 1], with each picture's logarithmic error by
    the weight `relative`."""
    error = decoded.float() - target
    # The same error on finite differences keeps edges crisp where plain L1 would settle for a blur.
    edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    loss = error.abs().mean() + 0.5 * edges + error.square().mean()
    if relative:
        # The mean PSNR over pictures, for which a plain one counts as much as a busy one.
        loss = loss + relative * (error.square().mean(dim=(1, 2, 3)) + 1e-4).log().mean()
    return loss


def train_autoencoder(arguments: argparse.Namespace) -> None:
    data = training.prepare(arguments, arguments.size)
    device, later = data.device, arguments.run / "decoder.pt"
    if later.exists():
        raise SystemExit(f"{later} was trained on the latents of this run's autoencoder, which a step more would "
                         "change: remove it to train the autoencoder, or choose another --run folder.")
    check_state(arguments.run / "autoencoder.pt", bool(arguments.deadline), split=data.split)
    model = networks.build_autoencoder().to(device, memory_format=torch.channels_last)
    averaged = copy.deepcopy(model).requires_grad_(False)

    def loss_at_step(step: int, part: int) -> Tensor:
        generator = data.generator(arguments.seed, step, part)
        target = latents.as_input(data.images[data.draw(arguments.batch, generator)])  # (B, 3, H, W)
        encoder, decoder = model
        with torch.autocast(device.type, torch.bfloat16):
            latent = encoder(target.contiguous(memory_format=torch.channels_last))
        latent = latent.float()
        # Unit variance is what the denoiser expects.
        spread, centre = latent.std(dim=(0, 2, 3)), latent.mean(dim=(0, 2, 3))
        noisy = latent + NOISE * torch.randn(latent.shape, generator=generator, device=device)
        with torch.autocast(device.type, torch.bfloat16):
            decoded = decoder(noisy)
        loss = (picture_error(decoded, target, arguments.relative)
                + 0.02 * ((spread - 1) ** 2 + centre**2).mean())
        if arguments.colours:
            loss = loss + arguments.colours * preview_error(latent, target)
        return loss

    optimise(model, averaged, arguments.peak, training.budget_of(arguments, warmup=100),
             arguments.run / "autoencoder.pt", loss_at_step, reported(arguments, data, *averaged),
             final_batches=arguments.final_batches, split=data.split)


def train_decoder(arguments: argparse.Namespace) -> None:
    """On with the decoder of a run, behind its encoder as it is: what was trained on its latents still fits."""
    data = training.prepare(arguments, arguments.size)
    device, state = data.device, arguments.run / "decoder.pt"
    # A state that is gone on with takes its place; what ends by the clock begins anew.
    autoencoder = latents.load_autoencoder(arguments.run, data.split, device, with_decoder=False)
    tied = dict(autoencoder=autoencoder.name, split=data.split)
    check_state(state, bool(arguments.deadline), **tied)
    coded = latents.latents_of(autoencoder, data.images, arguments.data)  # (N, 4, H/8, W/8)
    model = copy.deepcopy(autoencoder.decoder).to(memory_format=torch.channels_last).train().requires_grad_(True)
    averaged = copy.deepcopy(model).eval().requires_grad_(False)

    def loss_at_step(step: int, part: int) -> Tensor:
        generator = data.generator(arguments.seed, step, part)
        rows = data.draw(arguments.batch, generator)
        latent = coded[rows]
        noisy = latent + NOISE * torch.randn(latent.shape, generator=generator, device=device)
        with torch.autocast(device.type, torch.bfloat16):
            decoded = model(noisy)
        return picture_error(decoded, latents.as_input(data.images[rows]), arguments.relative)

    optimise(model, averaged, arguments.peak, training.budget_of(arguments, warmup=100), state, loss_at_step,
             reported(arguments, data, autoencoder.encoder, averaged), final_batches=arguments.final_batches, **tied)


def reported(arguments: argparse.Namespace, data: training.Data, encoder: torch.nn.Module,
             decoder: torch.nn.Module) -> Callable[[int], None]:
    """What follows a save: the PSNR of pictures for training and of held-out ones, and a sheet of what is restored."""

    @torch.no_grad()
    def report(step: int) -> None:
        for name, images in (("training", data.images), ("held-out", data.held_out)):
            if not len(images):
                continue
            sample = latents.as_input(training.every(images, LOOKED_AT))
            latent = encoder(sample).float()
            restored = decoder(latent).float().clamp(0, 1)
            psnr = -10 * (restored - sample).square().mean(dim=(1, 2, 3)).clamp_min(1e-10).log10()
            print(f"step {step}: PSNR {psnr.mean().item():.2f} dB on {name} pictures, latent std "
                  f"{[round(value, 3) for value in latent.std(dim=(0, 2, 3)).tolist()]}", flush=True)
        columns = min(16, len(sample))
        training.save_sheet(torch.cat([sample[:columns], restored[:columns]]).cpu(),
                            arguments.run / "autoencoder.png", columns)

    return report
