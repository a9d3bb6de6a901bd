"""Write a demo checkpoint as a file that ComfyUI's stock CheckpointLoaderSimple takes.

    python demo/assemble.py OUTPUT.safetensors                  the U-Net, for Stable Diffusion 1.5
    python demo/assemble.py OUTPUT.safetensors --transformer    the transformer, for Stable Diffusion 3 (transformer.py)
    python demo/assemble.py OUTPUT.safetensors --previews       the decoder alone, as ComfyUI's TAESD previews take it;
                                                                with --transformer for the transformer
    python demo/assemble.py OUTPUT.safetensors --weights FILE   the U-Net of other weights, such as an earlier commit's

Needs torch, numpy and safetensors. Widens the stored weights to fp16 and adds what need not be stored: the fixed random
token table and the pass-through text encoder (see text_table.py).
"""
from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch
from torch import Tensor

import text_table
import transformer
import weights

TEXT = "text_model."
LAYERS = 12
DECODER = "taesd_decoder."


def text_encoder() -> dict[str, Tensor]:
    """CLIP-L, named from "text_model." on, whose layers pass their input through: their output projections are zero."""
    width = text_table.WIDTH
    shapes = {"mlp.fc1.weight": (4 * width, width), "mlp.fc1.bias": (4 * width,), "mlp.fc2.weight": (width, 4 * width),
              "mlp.fc2.bias": (width,)}
    for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
        shapes |= {f"self_attn.{projection}.weight": (width, width), f"self_attn.{projection}.bias": (width,)}
    found = {TEXT + "embeddings.token_embedding.weight": text_table.token_table(),
             TEXT + "embeddings.position_embedding.weight": text_table.position_table()}
    for layer in range(LAYERS):
        for name, shape in shapes.items():
            found[f"{TEXT}encoder.layers.{layer}.{name}"] = torch.zeros(shape, dtype=torch.half)
    for norm in (*(f"encoder.layers.{layer}.layer_norm{number}" for layer in range(LAYERS) for number in (1, 2)),
                 "final_layer_norm"):
        found[f"{TEXT}{norm}.weight"] = torch.ones(width, dtype=torch.half)
        found[f"{TEXT}{norm}.bias"] = torch.zeros(width, dtype=torch.half)
    return found


def checkpoint(networks: dict[str, Tensor]) -> dict[str, Tensor]:
    """The whole state dict of the U-Net demo under the names of Stable Diffusion 1.5."""
    # The autoencoder's latents have unit variance; this scale cancels ComfyUI's scaling of SD1.5 latents.
    found = {"first_stage_model.vae_scale": torch.tensor(0.18215), "first_stage_model.vae_shift": torch.tensor(0.0)}
    prefixes = {"unet": "model.diffusion_model.", "encoder": "first_stage_model.taesd_encoder.",
                "decoder": "first_stage_model.taesd_decoder."}
    for name, value in networks.items():
        part, _, key = name.partition(".")
        found[prefixes[part] + key] = value
    return found | {f"cond_stage_model.transformer.{name}": value for name, value in text_encoder().items()}


def preview_decoder(path: Path, for_transformer: bool) -> dict[str, Tensor]:
    """The decoder as ComfyUI's TAESD previewer takes it, which is given latents as the network has them: of unit
    variance, which is what the demo autoencoder decodes."""
    networks, _ = weights.load(path)
    decoder = (transformer.autoencoder(networks) if for_transformer
               else {f"taesd_{name}": value for name, value in networks.items()})
    return {name.removeprefix(DECODER): value for name, value in decoder.items() if name.startswith(DECODER)}


def main() -> None:
    from safetensors.torch import save_file

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--transformer", action="store_true")
    parser.add_argument("--previews", action="store_true", help="the decoder alone, for models/vae_approx")
    parser.add_argument("--weights", type=Path, default=weights.PATH,
                        help="the U-Net and the autoencoder, which has to be the one of the transformer")
    arguments = parser.parse_args()
    output = arguments.output
    if arguments.previews:
        found = preview_decoder(arguments.weights, arguments.transformer)
    elif arguments.transformer:
        found = transformer.checkpoint(arguments.weights, text_encoder())
    else:
        found = checkpoint(weights.load(arguments.weights)[0])
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_suffix(".tmp")
    try:
        save_file({name: value.contiguous() for name, value in found.items()}, temporary, metadata={"format": "pt"})
        os.replace(temporary, output)
    finally:
        temporary.unlink(missing_ok=True)
    print(output)


if __name__ == "__main__":
    main()
