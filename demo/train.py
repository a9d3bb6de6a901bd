"""Train the demo checkpoint: first the autoencoder, then the denoiser on its latents.

    python demo/train.py autoencoder --data DATA --run FOLDER --comfyui PATH [--steps 2000]
    python demo/train.py denoiser    --data DATA --run FOLDER --comfyui PATH [--steps 4800] [--from-weights]
    python demo/train.py decoder     --data DATA --run FOLDER --comfyui PATH [--steps 4000]

The last, which may be left out, goes on with the autoencoder's decoder and leaves the latents as they are.

DATA is the folder of the icon sets, or an archive of it (dataset.py). With --from-weights the denoiser goes on from the
networks that this repository stores, and --steps counts theirs too; behind another autoencoder it is turned for its
latents (turning.py). All resume from their last saved state when started again, also with another number of steps: the
learning rate is constant after a warm-up and falls linearly over the last quarter of the steps that are asked for now,
those of the stored weights left out. With --deadline in place of --steps a training ends at a time of the clock
(`date +%s`), which its learning rate follows. Everything is seeded; a step's pictures, captions and noise depend only
on the seed, the step's number and the kind of device. Runs on a GPU if there is one, else on the CPU, in bfloat16. The
networks are ComfyUI's own classes (networks.py), so that the weights need no conversion.
"""
from __future__ import annotations

import argparse
import copy
from collections.abc import Callable

import torch
from torch import Tensor

import autoencoding
import latents
import networks
import objective
import text_table
import training
import turning
import weights
from optimise import begins_anew, check_state, fastest, optimise


@torch.no_grad()
def preview(unet, decoder, captions: list[str], size: int, guidance: float = 4.0, steps: int = 20) -> Tensor:
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
    data = training.prepare(arguments, arguments.size, arguments.captions)
    device = data.device
    stored = networks.stored_networks() if arguments.from_weights else None
    architecture = arguments.architecture or (stored.architecture if stored else networks.FIRST)
    if stored:
        if architecture != stored.architecture:
            raise SystemExit(f"The stored denoiser is {stored.architecture!r} and cannot go on as {architecture!r}: "
                             "leave --architecture or --from-weights out.")
        weights.check_split(weights.PATH.name, stored.unet_split, data.split)
    autoencoder = latents.load_autoencoder(arguments.run, data.split, device, stored)
    tied = dict(architecture=architecture, autoencoder=autoencoder.name, split=data.split)
    check_state(arguments.run / "denoiser.pt", bool(arguments.deadline), **tied)
    origin = stored.unet_steps if stored else 0
    training.budget_of(arguments, origin=origin)  # says at once if it cannot be
    decoder = autoencoder.decoder
    # (N, 4, H/8, W/8)
    coded, held_out = (latents.latents_of(autoencoder, images, arguments.data)
                       for images in (data.images, data.held_out))
    print(f"{len(coded)} latents, std {coded.std(dim=(0, 2, 3)).tolist()}", flush=True)
    torch.manual_seed(arguments.seed)
    unet = networks.build_unet(architecture, arguments.dropout).to(device, memory_format=torch.channels_last)
    if stored and begins_anew(arguments.run / "denoiser.pt", bool(arguments.deadline)):
        unet.load_state_dict(turning.start(stored, autoencoder.name, data.images, coded))
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
        context = text_table.embed_ids(training.draw_variants(data.captions, rows, generator))  # (B, 77, 768)
        return loss_of(chosen["network"], coded[rows], context, generator)

    if device.type == "cuda":
        choose_form(unet, chosen, loss_at_step, arguments.compile)
    empty = text_table.embed_captions([""]).to(device)

    def after_save(step: int) -> None:
        if len(held_out):
            generator = data.generator(arguments.seed, 0)
            with torch.no_grad():
                losses = [loss_of(averaged, chunk, empty.expand(len(chunk), -1, -1), generator).item()
                          for chunk in (training.every(coded, 256), training.every(held_out, 256))]
            print(f"step {step}: loss without a prompt {losses[0]:.4f} on training pictures, {losses[1]:.4f} on "
                  "held-out ones", flush=True)
        shown = training.looked_at(arguments.previews)
        images = preview(averaged, decoder, shown, arguments.size)
        training.save_sheet(images.cpu(), arguments.run / "denoiser.png", columns=min(16, len(shown)))
        if arguments.deadline:
            weights.pack(arguments.run, arguments.run / weights.PATH.name)

    optimise(unet, averaged, arguments.peak, training.budget_of(arguments, origin=origin),
             arguments.run / "denoiser.pt", loss_at_step, after_save, final_batches=arguments.final_batches, **tied)


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


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """The command line, in which each part has the options that do something for it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = parser.add_subparsers(dest="part", required=True)
    autoencoder, decoder = parts.add_parser("autoencoder"), parts.add_parser("decoder")
    training.add_options(autoencoder, steps=2000, batch=24, peak=1e-3)
    training.add_options(decoder, steps=4000, batch=24, peak=1e-3)
    for parser_of_part, train in ((autoencoder, autoencoding.train_autoencoder),
                                  (decoder, autoencoding.train_decoder)):
        training.add_network_options(parser_of_part)
        parser_of_part.add_argument("--relative", type=float, default=0.0,
                                    help="weight of the logarithm of each picture's squared error in the loss")
        parser_of_part.set_defaults(train=train)
    autoencoder.add_argument("--colours", type=float, default=0.0,
                             help="weight of the error of ComfyUI's small previews, for latents that they show in the "
                                  "pictures' colours")
    denoiser = parts.add_parser("denoiser")
    training.add_options(denoiser, steps=4800, batch=64, peak=5e-4)
    training.add_network_options(denoiser)
    training.add_denoiser_options(denoiser)
    denoiser.add_argument("--architecture", choices=networks.UNETS,
                          help=f"that of the stored weights with --from-weights, else {networks.FIRST}")
    denoiser.add_argument("--dropout", type=float, default=0.0, help="in the residual blocks")
    denoiser.add_argument("--weight", choices=objective.WEIGHTS, default="min-snr", help="of the error")
    denoiser.add_argument("--compile", action="store_true", help="on a GPU: compile the network if that is faster")
    denoiser.set_defaults(train=train_denoiser)
    return parser.parse_args(words)


def main() -> None:
    arguments = parse()
    networks.import_comfyui(arguments.comfyui)
    torch.manual_seed(arguments.seed)
    arguments.train(arguments)


if __name__ == "__main__":
    main()
