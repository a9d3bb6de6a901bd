"""Train the demo transformer (transformer.py) on the latents of the demo autoencoder, and pack it for the repository.

    python demo/train_transformer.py train --data FOLDER --run FOLDER --comfyui PATH [--steps 7000] [--from-weights]
    python demo/train_transformer.py pack  --run FOLDER

Rectified flow: the network predicts eps - x0 at x = (1 - sigma) x0 + sigma eps, with a plain squared error. Noise
levels are drawn as ComfyUI's samplers visit them: t with a normal logit of width SPREAD, then ComfyUI's shift of 3.
Training goes on from its last saved state when started again, also with another number of steps, as demo/train.py does
(with --from-weights and no saved state, from the weights that the repository stores); the batches depend only on the
seed and the step. On the CPU it runs in bfloat16 where the processor computes in it (measured: 0.32 s of processor time
a step against 0.45 s in fp32 on an AVX-512 core).
"""
from __future__ import annotations

import argparse
import copy
from pathlib import Path

import torch
from torch import Tensor

import train
import transformer
import weights
from dataset import training_caption

SHIFT = 3.0
SPREAD = 1.3  # of the logit of t; 1.8 would be close to uniform, 1 is what Stable Diffusion 3 was trained with


def shifted(t: Tensor) -> Tensor:
    """ComfyUI's noise level of a time in [0, 1]: sigma = 3 t / (1 + 2 t)."""
    return SHIFT * t / (1 + (SHIFT - 1) * t)


def draw_sigmas(count: int, generator: torch.Generator) -> Tensor:
    """Noise levels (count,), one from each of as many equally likely strata."""
    strata = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    return shifted(torch.sigmoid(SPREAD * torch.special.ndtri(strata.clamp(1e-6, 1 - 1e-6))))


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
    train.import_comfyui(arguments.comfyui)
    pictures, images, cumulative, device = train.prepare(arguments)
    autoencoder = torch.nn.ModuleList(train.build_autoencoder())
    autoencoder.load_state_dict(train.stored_networks().autoencoder)
    encoder, decoder = autoencoder.to(device)
    cache = arguments.run / "latents.pt"
    if not cache.exists():
        train.save_state(cache, latents=train.encode_all(encoder, images, device))
    latents = torch.load(cache, weights_only=True)["latents"]  # (N, 4, H/8, W/8)
    torch.manual_seed(arguments.seed)
    model, origin = transformer.load() if arguments.from_weights else (transformer.build(), 0)
    model.to(device)
    averaged = copy.deepcopy(model).requires_grad_(False)
    print(f"{len(latents)} latents, {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters", flush=True)

    def loss_at_step(step: int) -> Tensor:
        chosen, generator = train.draw_batch(pictures, cumulative, arguments.batch, arguments.seed, step)
        conditions = transformer.embed_captions([training_caption(pictures[index], generator) for index in chosen],
                                                device)
        draws = torch.Generator().manual_seed(arguments.seed * 1_000_003 + step)
        clean = transformer.copied(latents[torch.from_numpy(chosen)])  # (B, 16, h, w)
        noise = torch.randn(clean.shape, generator=draws)
        sigmas = draw_sigmas(len(chosen), draws)  # (B,)
        level = sigmas[:, None, None, None]
        noisy = (1 - level) * clean + level * noise
        with torch.autocast(device.type, torch.bfloat16):
            predicted = transformer.velocity(model, noisy.to(device), sigmas.to(device), conditions)
        return (predicted.float() - (noise - clean).to(device)).square().mean()

    captions = ["woman", "man health worker dark skin tone", "red apple", "cat face", "dog", "red heart", "house",
                "car", "grinning face", "pizza", "banana", "tree", "fish", "bird", "rocket", "guitar"]

    def after_save(step: int) -> None:
        shown = preview(averaged, decoder, captions * 2, arguments.size).cpu()
        train.save_sheet(shown, arguments.run / "transformer.png", columns=16)

    train.optimise(model, arguments.peak, arguments.steps, 200, arguments.run / "transformer.pt", loss_at_step,
                   after_save, save_every=500, averaged=averaged, origin=origin)


def pack(arguments) -> None:
    from safetensors.torch import save_file

    state = torch.load(arguments.run / "transformer.pt", weights_only=True, map_location="cpu")
    kept = {transformer.PREFIX + name: transformer.stored_part(name, value)
            for name, value in state["averaged"].items()}
    header = {"format": "mental-averages/demo-transformer-1", "steps": str(state["step"])}
    save_file(weights.quantise(kept), arguments.output, metadata=header)
    count = sum(value.numel() for value in kept.values())
    print(f"{arguments.output}: {arguments.output.stat().st_size / 2**20:.2f} MiB, {count / 1e6:.2f} M weights, "
          f"{state['step']} steps")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("train", "pack"))
    parser.add_argument("--run", type=Path, required=True, help="folder of this training's states and previews")
    parser.add_argument("--data", type=Path, help="folder of the icon sets (demo/dataset.py)")
    parser.add_argument("--comfyui", type=Path, help="a ComfyUI folder, for its network classes")
    parser.add_argument("--output", type=Path, default=transformer.PATH, help="the file that pack writes")
    parser.add_argument("--steps", type=int, default=7000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=64, help="side of the pictures in pixels")
    parser.add_argument("--peak", type=float, default=1e-3, help="highest learning rate")
    parser.add_argument("--from-weights", action="store_true", help="start from demo/transformer_weights.safetensors")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.part == "train" and not (arguments.data and arguments.comfyui):
        parser.error("train needs --data and --comfyui")
    {"train": run_training, "pack": pack}[arguments.part](arguments)


if __name__ == "__main__":
    main()
