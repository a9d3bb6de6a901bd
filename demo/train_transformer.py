"""Train the demo transformer (transformer.py) on the latents of the demo autoencoder, and pack it for the repository.

    python demo/train_transformer.py train --data DATA --run FOLDER --comfyui PATH [--steps 7000] [--from-weights]
    python demo/train_transformer.py pack  --run FOLDER

Rectified flow: the network predicts eps - x0 at x = (1 - sigma) x0 + sigma eps, with a plain squared error. Noise
levels are drawn as ComfyUI's samplers visit them: t with a normal logit of width SPREAD, then ComfyUI's shift of 3.
Training goes on from its last saved state when started again, also with another number of steps, or ends by the clock,
as demo/train.py does (with --from-weights and no saved state, from the weights that the repository stores, turned for
the latents if the run has another autoencoder than they); the batches depend only on the seed, the step and the kind
of device. The autoencoder is that of the run, which gets the stored one if it has none. On the CPU it runs in bfloat16
where the processor computes in it (measured: 0.32 s of processor time a step against 0.45 s in fp32 on an AVX-512
core).
"""
from __future__ import annotations

import argparse
import copy
from pathlib import Path

import torch
from torch import Tensor

import latents
import networks
import objective
import training
import transformer
import turning
import weights
from optimise import begins_anew, check_state, optimise

SHIFT = 3.0
SPREAD = 1.3  # of the logit of t; 1.8 would be close to uniform, 1 is what Stable Diffusion 3 was trained with


def shifted(t: Tensor) -> Tensor:
    """ComfyUI's noise level of a time in [0, 1]: sigma = 3 t / (1 + 2 t)."""
    return SHIFT * t / (1 + (SHIFT - 1) * t)


def draw_sigmas(count: int, generator: torch.Generator) -> Tensor:
    """Noise levels (count,), one from each of as many equally likely strata."""
    shares = objective.draw_shares(count, generator).clamp(1e-6, 1 - 1e-6)
    return shifted(torch.sigmoid(SPREAD * torch.special.ndtri(shares)))


@torch.no_grad()
def preview(model, decoder, captions: list[str], size: int, guidance: float = 5.0, steps: int = 20) -> Tensor:
    """Pictures (N, 3, H, W) by Euler steps with guidance, for looking at during training."""
    device = next(model.parameters()).device
    conditions = transformer.embed_captions([*captions, *[""] * len(captions)], device)
    sigmas = shifted(torch.linspace(1, 0, steps + 1)).to(device)
    shape = (len(captions), transformer.CHANNELS, size // 8, size // 8)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device)
    for now, after in zip(sigmas, sigmas[1:]):
        with torch.autocast(device.type, torch.bfloat16):
            both = transformer.velocity(model, torch.cat([x, x]), now.repeat(2 * len(x)), conditions).float()
        conditional, unconditional = both.chunk(2)
        x = x + (after - now) * (unconditional + guidance * (conditional - unconditional))
    return decoder(transformer.merged(x)).float()


def run_training(arguments) -> None:
    networks.import_comfyui(arguments.comfyui)
    data = training.prepare(arguments, arguments.size, arguments.captions)
    device = data.device
    stored = networks.stored_networks()
    autoencoder = latents.load_autoencoder(arguments.run, data.split, device, stored)
    origin, is_turned = 0, False
    if arguments.from_weights:
        header = transformer.header()
        origin, is_turned = int(header["steps"]), header["autoencoder"] != autoencoder.name
        if is_turned:  # from the latents that it was trained on
            weights.check_belongs(transformer.PATH.name, header["autoencoder"], stored.autoencoder_name,
                                  weights.PATH.name)
        weights.check_split(transformer.PATH.name, header["split"], data.split)
    tied = dict(autoencoder=autoencoder.name, split=data.split)
    check_state(arguments.run / "transformer.pt", bool(arguments.deadline), **tied)
    training.budget_of(arguments, origin=origin)  # says at once if it cannot be
    coded = latents.latents_of(autoencoder, data.images, arguments.data)  # (N, 4, H/8, W/8)
    rows_of_text = transformer.rows_for(data.captions.flatten(0, 1))
    torch.manual_seed(arguments.seed)
    model = transformer.load() if arguments.from_weights else transformer.build()
    model.to(device)
    if is_turned and begins_anew(arguments.run / "transformer.pt", bool(arguments.deadline)):
        rotation = turning.rotation_from(stored, data.images, coded)
        model.load_state_dict(turning.turned_transformer(model.state_dict(), rotation.to(device)))
    averaged = copy.deepcopy(model).requires_grad_(False)
    print(f"{len(coded)} latents, {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters", flush=True)

    def loss_at_step(step: int, part: int) -> Tensor:
        generator = data.generator(arguments.seed, step, part)
        rows = data.draw(arguments.batch, generator)
        conditions = transformer.embed_ids(training.draw_variants(data.captions, rows, generator),
                                           rows_of_text)
        clean = transformer.copied(coded[rows])  # (B, 16, h, w)
        noise = torch.randn(clean.shape, generator=generator, device=device)
        if arguments.noise == "assigned":
            noise = objective.assigned(noise, clean)
        sigmas = draw_sigmas(len(rows), generator)  # (B,)
        level = sigmas[:, None, None, None]
        with torch.autocast(device.type, torch.bfloat16):
            predicted = transformer.velocity(model, (1 - level) * clean + level * noise, sigmas, conditions)
        return (predicted.float() - (noise - clean)).square().mean()

    def after_save(step: int) -> None:
        captions = training.looked_at(arguments.previews)
        shown = preview(averaged, autoencoder.decoder, captions, arguments.size).cpu()
        training.save_sheet(shown, arguments.run / "transformer.png", columns=min(16, len(captions)))
        if arguments.deadline:
            pack(arguments.run, arguments.run / transformer.PATH.name)

    optimise(model, averaged, arguments.peak, training.budget_of(arguments, origin=origin),
             arguments.run / "transformer.pt", loss_at_step, after_save, save_every=500,
             final_batches=arguments.final_batches, **tied)


def pack(run: Path, output: Path) -> None:
    """Write the averaged transformer of `run`; its header tells the steps, the autoencoder's name and the split."""
    state = torch.load(run / "transformer.pt", weights_only=True, map_location="cpu")
    kept = {transformer.PREFIX + name: transformer.stored_part(name, value)
            for name, value in state["averaged"].items()}
    count = weights.save(output, kept, {"format": "mental-averages/demo-transformer-1", "steps": str(state["step"]),
                                        "autoencoder": state["autoencoder"], "split": state["split"]})
    print(f"{output}: {output.stat().st_size / 2**20:.2f} MiB, {count / 1e6:.2f} M weights, {state['step']} steps",
          flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = parser.add_subparsers(dest="part", required=True)
    trained = parts.add_parser("train")
    training.add_options(trained, steps=7000, batch=64, peak=1e-3)
    training.add_network_options(trained)
    training.add_denoiser_options(trained)
    packing = parts.add_parser("pack")
    packing.add_argument("--run", type=Path, required=True, help="folder of the training's states")
    packing.add_argument("--output", type=Path, default=transformer.PATH, help="the file that is written")
    arguments = parser.parse_args()
    if arguments.part == "train":
        run_training(arguments)
    else:
        pack(arguments.run, arguments.output)


if __name__ == "__main__":
    main()
