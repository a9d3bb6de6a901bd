"""Files of small random weights that fit the demo U-Net, for core's loaders on a server."""
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

PREFIX = "model.diffusion_model."


def random_lora(shapes: dict[str, tuple[int, ...]], scale: float = 0.1) -> dict[str, Tensor]:
    """A LoRA of rank 2 for layers whose weights have these shapes."""
    generator, lora = torch.Generator().manual_seed(4), {}
    for name, (rows, columns, *_) in shapes.items():
        lora[f"diffusion_model.{name}.lora_up.weight"] = torch.randn((rows, 2), generator=generator)
        lora[f"diffusion_model.{name}.lora_down.weight"] = scale * torch.randn((2, columns), generator=generator)
        lora[f"diffusion_model.{name}.alpha"] = torch.tensor(2.0)
    return lora


def random_hypernetwork(*widths: int, scale: float = 0.3) -> dict:
    """A hypernetwork for attentions that read keys and values of these widths."""
    generator = torch.Generator().manual_seed(3)

    def layers(width: int) -> dict[str, Tensor]:
        return {f"linear.{index}.{name}": scale * torch.randn(shape, generator=generator)
                for index, (high, low) in enumerate(((2 * width, width), (width, 2 * width)))
                for name, shape in (("weight", (high, low)), ("bias", (high,)))}

    return {"activation_func": "swish", **{width: [layers(width), layers(width)] for width in widths}}


def write_models(checkpoint: Path, models: Path) -> None:
    """A LoRA, a hypernetwork, a ControlNet and the network alone, each where core's loader looks for it."""
    for folder in ("loras", "hypernetworks", "controlnet", "diffusion_models"):
        (models / folder).mkdir(exist_ok=True)
    with safe_open(checkpoint, framework="pt") as file:
        network = {name.removeprefix(PREFIX): file.get_tensor(name).float() for name in file.keys()
                   if name.startswith(PREFIX)}
    shapes = {name.removesuffix(".weight"): tuple(weight.shape) for name, weight in network.items()
              if name.endswith(("to_q.weight", "to_k.weight", "to_v.weight"))}
    # Scaled as the weights beside which they stand.
    save_file(random_lora(shapes, 0.02), models / "loras" / "random.safetensors")
    widths = sorted({shape[1] for shape in shapes.values()})
    torch.save(random_hypernetwork(*widths, scale=0.02), models / "hypernetworks" / "random.pt")
    save_file(network, models / "diffusion_models" / "network.safetensors")
    save_file(_control(network), models / "controlnet" / "random.safetensors")


def _control(network: dict[str, Tensor]) -> dict[str, Tensor]:
    """A ControlNet of the network's own way down, with random zero convolutions."""
    generator = torch.Generator().manual_seed(4)

    def convolution(rows: int, columns: int, size: int) -> Tensor:
        return torch.randn((rows, columns, size, size), generator=generator) * (columns * size * size) ** -0.5

    found = {name: weight for name, weight in network.items()
             if name.startswith(("time_embed", "input_blocks", "middle_block"))}
    width = network["input_blocks.0.0.weight"].shape[0]
    blocks = 1 + max(int(name.split(".")[1]) for name in found if name.startswith("input_blocks"))
    for name in (*(f"zero_convs.{index}.0" for index in range(blocks)), "middle_block_out.0"):
        found[f"{name}.weight"] = 0.2 * convolution(width, width, 1)
        found[f"{name}.bias"] = torch.zeros(width)
    hint = (3, 16, 16, 32, 32, 96, 96, 256, width)  # core's own widths from a picture to features
    for index, (columns, rows) in enumerate(zip(hint, hint[1:])):
        found[f"input_hint_block.{2 * index}.weight"] = convolution(rows, columns, 3)
        found[f"input_hint_block.{2 * index}.bias"] = torch.zeros(rows)
    return found
