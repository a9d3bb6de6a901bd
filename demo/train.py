"""Train the demo checkpoint: first the autoencoder, then the denoiser on its latents.

    python demo/train.py autoencoder --data DATA --run FOLDER --comfyui PATH [--steps 2000]
    python demo/train.py denoiser    --data DATA --run FOLDER --comfyui PATH [--steps 4800] [--from-weights]

DATA is the folder of the icon sets, or an archive of it (dataset.py). With --from-weights the denoiser goes on from the
networks that this repository stores, counting their steps. Both resume from their last saved state when started again,
also with another number of steps: the learning rate is constant after a warm-up and falls linearly over the last
quarter of the steps that are asked for now. With --deadline in place of --steps a training ends at a time of the clock
(`date +%s`), which its learning rate follows. Everything is seeded; a step's pictures, captions and noise depend only
on the seed, the step's number and the kind of device. Runs on a GPU if there is one, else on the CPU, in bfloat16. The
networks are ComfyUI's own classes (networks.py), so that the weights need no conversion.
"""
from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import captions as caption_table
import networks
import objective
import text_table
import weights
from dataset import CAPTION_LAWS, ICON_SETS, load, sampling_weights, split_digest
from optimise import Budget, fastest, optimise, save_state

LOOKED_AT = ["woman", "man health worker dark skin tone", "red apple", "cat face", "dog", "red heart", "house", "car",
             "grinning face", "pizza", "banana", "tree", "fish", "bird", "rocket", "guitar"]

UNKNOWN_SPLIT = "unknown"  # of stored weights that are older than its name


def looked_at(count: int) -> list[str]:
    """That many captions for a preview, again from the beginning when they are at an end."""
    return [LOOKED_AT[index % len(LOOKED_AT)] for index in range(count)]


def save_sheet(images: Tensor, path: Path, columns: int = 8) -> None:
    """Write pictures (N, 3, H, W) in [0, 1] as one PNG."""
    from PIL import Image

    rows = [torch.cat(list(row), dim=2) for row in images.clamp(0, 1).split(columns) if len(row) == columns]
    sheet = torch.cat(rows, dim=1).permute(1, 2, 0)
    Image.fromarray((sheet * 255).round().byte().numpy()).save(path)


@dataclass(frozen=True)
class Data:
    """What is trained on, as tensors on the training's device: pictures (N, H, W, 3) and held-out ones in uint8, the
    cumulative probabilities (N,) with which pictures are drawn, the token ids (N, captions, 77) of their captions, and
    the name of the split."""

    images: Tensor
    held_out: Tensor
    cumulative: Tensor
    captions: Tensor | None
    split: str

    @property
    def device(self) -> torch.device:
        return self.images.device

    def generator(self, seed: int, step: int, part: int = 0) -> torch.Generator:
        return torch.Generator(self.device).manual_seed((seed * 1_000_003 + step) * 64 + part)

    def draw_captions(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Token ids (B, 77) of one caption of each picture."""
        variants = torch.randint(self.captions.shape[1], (len(rows),), generator=generator, device=self.device)
        return self.captions[rows, variants]

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Rows (count,) of pictures."""
        drawn = torch.rand(count, generator=generator, device=self.device, dtype=torch.float64)
        return torch.searchsorted(self.cumulative, drawn).clamp(max=len(self.images) - 1)


def prepare(arguments, with_captions: bool = True) -> Data:
    """The pictures of the drawing styles that are asked for."""
    device = networks.device()
    pictures, images = load(arguments.data, arguments.size)
    styles = set(arguments.styles.split(","))
    sides: dict[bool, list[int]] = {side: [row for row, picture in enumerate(pictures) if picture.held_out == side
                                           and picture.style in styles] for side in (False, True)}
    if not sides[False]:
        raise SystemExit(f"There is no picture in {arguments.styles}: --styles takes some of "
                         f"{', '.join(icons.style for icons in ICON_SETS)}, with commas.")
    arguments.run.mkdir(parents=True, exist_ok=True)
    weight = torch.from_numpy(sampling_weights([pictures[row] for row in sides[False]]))
    print(f"{len(sides[False])} pictures, {len(sides[True])} held out, on {device}", flush=True)
    ids = None
    if with_captions:
        table = caption_table.load(arguments.data, pictures, arguments.captions)
        ids = torch.from_numpy(table[sides[False]].astype("int32")).to(device)
    return Data(torch.from_numpy(images[sides[False]]).to(device), torch.from_numpy(images[sides[True]]).to(device),
                weight.cumsum(0).to(device), ids, split_digest(pictures))


def every(rows: Tensor, count: int) -> Tensor:
    """About `count` of the rows, from all over."""
    return rows[:: max(len(rows) // count, 1)]


def as_input(images: Tensor) -> Tensor:
    """uint8 pictures (B, H, W, 3) as the autoencoder takes them: (B, 3, H, W) in [0, 1]."""
    return images.permute(0, 3, 1, 2).float() / 255


def budget_of(arguments, **options) -> Budget:
    return Budget(None if arguments.deadline else arguments.steps, arguments.deadline, **options)


def train_autoencoder(arguments) -> None:
    data = prepare(arguments, with_captions=False)
    device = data.device
    model = networks.build_autoencoder().to(device, memory_format=torch.channels_last)
    averaged = copy.deepcopy(model).requires_grad_(False)

    def loss_at_step(step: int, part: int) -> Tensor:
        generator = data.generator(arguments.seed, step, part)
        target = as_input(data.images[data.draw(arguments.batch, generator)])  # (B, 3, H, W)
        encoder, decoder = model
        with torch.autocast(device.type, torch.bfloat16):
            latent = encoder(target.contiguous(memory_format=torch.channels_last))
        latent = latent.float()
        # Unit variance is what the denoiser expects; a little noise makes the decoder smooth around the latents.
        spread, centre = latent.std(dim=(0, 2, 3)), latent.mean(dim=(0, 2, 3))
        noisy = latent + 0.05 * torch.randn(latent.shape, generator=generator, device=device)
        with torch.autocast(device.type, torch.bfloat16):
            decoded = decoder(noisy)
        error = decoded.float() - target
        # The same error on finite differences keeps edges crisp where plain L1 would settle for a blur.
        edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
        loss = error.abs().mean() + 0.5 * edges + error.square().mean() + 0.02 * ((spread - 1) ** 2 + centre**2).mean()
        if arguments.relative:
            # The mean PSNR over pictures, for which a plain one counts as much as a busy one.
            loss = loss + arguments.relative * (error.square().mean(dim=(1, 2, 3)) + 1e-4).log().mean()
        return loss

    def after_save(step: int) -> None:
        encoder, decoder = averaged
        for name, images in (("training", data.images), ("held-out", data.held_out)):
            if not len(images):
                continue
            sample = as_input(every(images, 256))
            with torch.no_grad():
                latent = encoder(sample).float()
                restored = decoder(latent).float().clamp(0, 1)
            psnr = -10 * (restored - sample).square().mean(dim=(1, 2, 3)).clamp_min(1e-10).log10()
            print(f"step {step}: PSNR {psnr.mean().item():.2f} dB on {name} pictures, latent std "
                  f"{[round(value, 3) for value in latent.std(dim=(0, 2, 3)).tolist()]}", flush=True)
        columns = min(16, len(sample))
        save_sheet(torch.cat([sample[:columns], restored[:columns]]).cpu(), arguments.run / "autoencoder.png", columns)

    optimise(model, averaged, arguments.peak or 1e-3, budget_of(arguments, warmup=100),
             arguments.run / "autoencoder.pt", loss_at_step, after_save, final_batches=arguments.final_batches,
             split=data.split)


@torch.no_grad()
def encode_all(encoder: torch.nn.Module, images: Tensor) -> Tensor:
    """Latents (N, 4, H/8, W/8) of uint8 pictures, on their device."""
    return torch.cat([encoder(as_input(chunk)).float() for chunk in images.split(256)])


def load_autoencoder(run: Path, split: str) -> tuple[torch.nn.ModuleList, dict]:
    """The autoencoder of a run and its state; raises SystemExit if it was trained on pictures that this split holds
    out."""
    state = torch.load(run / "autoencoder.pt", weights_only=True, map_location="cpu")
    if state.get("split") not in (split, UNKNOWN_SPLIT):
        raise SystemExit(f"{run / 'autoencoder.pt'} was trained on another split of the pictures and may have seen "
                         "those that are held out now: train the autoencoder anew.")
    model = networks.build_autoencoder()
    model.load_state_dict(state["averaged"])
    return model.eval().requires_grad_(False), state


@torch.no_grad()
def preview(unet, decoder, captions: list[str], size: int, guidance: float = 7.0, steps: int = 20) -> Tensor:
    """Pictures (N, 3, H, W) by deterministic DDIM with guidance, for looking at during training."""
    device = next(unet.parameters()).device
    context = text_table.embed_captions(captions).to(device)
    empty = text_table.embed_captions([""]).to(device).expand_as(context)
    cumulative = objective.alphas_cumprod().to(device)
    times = torch.linspace(objective.TIMESTEPS - 1, 0, steps + 1).long()[:-1]
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
    data = prepare(arguments)
    device = data.device
    stored = networks.stored_networks() if arguments.from_weights else None
    if stored and not (arguments.run / "autoencoder.pt").exists():
        save_state(arguments.run / "autoencoder.pt", step=stored.autoencoder_steps, averaged=stored.autoencoder,
                   split=stored.split or UNKNOWN_SPLIT)
    autoencoder, autoencoder_state = load_autoencoder(arguments.run, data.split)
    encoder, decoder = autoencoder.to(device)
    latents, held_out = encode_all(encoder, data.images), encode_all(encoder, data.held_out)  # (N, 4, H/8, W/8)
    print(f"{len(latents)} latents, std {latents.std(dim=(0, 2, 3)).tolist()}", flush=True)
    torch.manual_seed(arguments.seed)
    architecture = stored.architecture if stored else arguments.architecture
    unet = networks.build_unet(architecture, arguments.dropout).to(device, memory_format=torch.channels_last)
    if stored:
        unet.load_state_dict(stored.unet)
    averaged = copy.deepcopy(unet).eval().requires_grad_(False)
    print(f"{architecture}: {sum(p.numel() for p in unet.parameters()) / 1e6:.1f} M parameters", flush=True)
    schedule = objective.alphas_cumprod().to(device)
    importance = objective.loss_weights(arguments.weight).to(device)

    def loss_of(network: Callable, clean: Tensor, context: Tensor, generator: torch.Generator) -> Tensor:
        times = objective.draw_times(len(clean), generator)  # (B,)
        noise = torch.randn(clean.shape, generator=generator, device=device)
        if arguments.noise == "assigned":
            noise = objective.assigned(noise, clean)
        alpha = schedule[times][:, None, None, None]
        noisy = alpha.sqrt() * clean + (1 - alpha).sqrt() * noise
        with torch.autocast(device.type, torch.bfloat16):
            predicted = network(noisy, times.float(), context=context)
        error = (predicted.float() - noise).square().mean(dim=(1, 2, 3))  # (B,)
        return (error * importance[times]).mean()

    chosen: dict[str, Callable] = {"network": unet}

    def loss_at_step(step: int, part: int) -> Tensor:
        generator = data.generator(arguments.seed, step, part)
        rows = data.draw(arguments.batch, generator)
        context = text_table.embed_ids(data.draw_captions(rows, generator))  # (B, 77, 768)
        return loss_of(chosen["network"], latents[rows], context, generator)

    if device.type == "cuda":
        choose_form(unet, chosen, loss_at_step, arguments.compile)
    empty = text_table.embed_captions([""]).to(device)

    def after_save(step: int) -> None:
        if len(held_out):
            generator = data.generator(arguments.seed, 0)
            with torch.no_grad():
                losses = [loss_of(averaged, chunk, empty.expand(len(chunk), -1, -1), generator).item()
                          for chunk in (every(latents, 256), every(held_out, 256))]
            print(f"step {step}: loss without a prompt {losses[0]:.4f} on training pictures, {losses[1]:.4f} on "
                  "held-out ones", flush=True)
        shown = looked_at(arguments.previews)
        images = preview(averaged, decoder, shown, arguments.size)
        save_sheet(images.cpu(), arguments.run / "denoiser.png", columns=min(16, len(shown)))
        if arguments.deadline:
            weights.pack(arguments.run, arguments.run / weights.PATH.name)

    optimise(unet, averaged, arguments.peak or 5e-4, budget_of(arguments, origin=stored.unet_steps if stored else 0),
             arguments.run / "denoiser.pt", loss_at_step, after_save, final_batches=arguments.final_batches,
             architecture=architecture, autoencoder=autoencoder_state["step"])


def choose_form(unet: torch.nn.Module, chosen: dict[str, Callable], loss_at_step: Callable[[int, int], Tensor],
                compiling: bool) -> None:
    """Leave the network in the memory format, and if `compiling` compiled, that takes least time on this card."""
    def form(memory_format: torch.memory_format, network: Callable) -> Callable[[], None]:
        def call() -> None:
            unet.to(memory_format=memory_format)
            chosen["network"] = network
            loss_at_step(0, 0).backward()

        return call

    forms = {"rows last": form(torch.contiguous_format, unet), "channels last": form(torch.channels_last, unet)}
    if compiling:
        forms["compiled"] = form(torch.channels_last, torch.compile(unet))
    forms[fastest(forms)]()
    unet.zero_grad(set_to_none=True)


def arguments_of(parser: argparse.ArgumentParser) -> None:
    """Add the options that the trainings of this folder share."""
    parser.add_argument("--run", type=Path, required=True, help="folder of this training's states and previews")
    parser.add_argument("--data", type=Path, required=True,
                        help="folder of the icon sets (demo/dataset.py), or its archive")
    parser.add_argument("--comfyui", type=Path, required=True, help="a ComfyUI folder, for its network classes")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--deadline", type=float,
                        help="end at this time, in seconds since 1970, instead of after --steps")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--final-batches", type=int, default=1,
                        help="batches of one step while the learning rate falls")
    parser.add_argument("--size", type=int, default=64, help="side of the pictures in pixels")
    parser.add_argument("--styles", default=",".join(icons.style for icons in ICON_SETS),
                        help="drawing styles that are trained on")
    parser.add_argument("--captions", choices=CAPTION_LAWS, default="mixed", help="how captions are shortened")
    parser.add_argument("--noise", choices=("independent", "assigned"), default="independent",
                        help="assigned: each picture of a batch gets the noise that lies near it")
    parser.add_argument("--peak", type=float, help="highest learning rate")
    parser.add_argument("--previews", type=int, default=32, help="pictures on the sheet that shows how far it is")
    parser.add_argument("--from-weights", action="store_true", help="start from the weights that this folder stores")
    parser.add_argument("--seed", type=int, default=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("autoencoder", "denoiser"))
    arguments_of(parser)
    parser.add_argument("--architecture", choices=networks.UNETS, default=networks.FIRST, help="of the denoiser")
    parser.add_argument("--dropout", type=float, default=0.0, help="in the denoiser's residual blocks")
    parser.add_argument("--weight", choices=objective.WEIGHTS, default="min-snr", help="of the denoiser's error")
    parser.add_argument("--compile", action="store_true", help="on a GPU: compile the denoiser if that is faster")
    parser.add_argument("--relative", type=float, default=0.0,
                        help="weight of the logarithm of each picture's squared error in the autoencoder's loss")
    arguments = parser.parse_args()
    steps, batch = {"autoencoder": (2000, 24), "denoiser": (4800, 64)}[arguments.part]
    arguments.steps, arguments.batch = arguments.steps or steps, arguments.batch or batch
    networks.import_comfyui(arguments.comfyui)
    torch.manual_seed(arguments.seed)
    {"autoencoder": train_autoencoder, "denoiser": train_denoiser}[arguments.part](arguments)


if __name__ == "__main__":
    main()
