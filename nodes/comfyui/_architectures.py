"""The one table of architectures: where the networks that ComfyUI builds can be read, and how what is read is laid out.

A place is one block of a network. Its output is brought to one form for all of them, a map (B, C, h, w) of the image
alone, so that everything after it, pooling included, is the same for U-Nets and transformers. Whatever is not in the
table is refused by name. tests/in_comfyui/comfyui/test_architectures.py builds each network small and checks every row.
"""
from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import comfy.ldm.aura.mmdit
import comfy.ldm.chroma.model
import comfy.ldm.flux.model
import comfy.ldm.hydit.models
import comfy.ldm.lumina.model
import comfy.ldm.pixart.pixartms
import comfy.ldm.qwen_image.model
from comfy.ldm.modules.diffusionmodules.mmdit import OpenAISignatureMMDITWrapper
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from torch import Tensor, nn

AUTO_LAYER = "auto"
MIDDLE_BLOCK = "middle_block"


class Rows(enum.Enum):
    """Where the image is in a block's output."""

    MAP = "a map (B, C, h, w)"
    IMAGE = "image tokens alone (B, h w, C)"
    TEXT_THEN_IMAGE = "text tokens, then image tokens, then padding (B, rows, C)"


@dataclass(frozen=True)
class Blocks:
    """Blocks of a network that run one after the other.

    path: the sub-module that holds them. rows: how their output is laid out.
    element: which element of the output is the image stream, for blocks that return (text, image) or (image, text).
    patch: the patch of ComfyUI's ModelPatcher that reaches the same place, as "patches: name" or "patches_replace:
    name", or None. It is not used for reading, because it neither ends the forward pass nor exists everywhere.
    """

    path: str
    rows: Rows
    element: int | None = None
    patch: str | None = None


@dataclass(frozen=True)
class Architecture:
    """One class of networks.

    latent_channels: the channels that a network takes; more than its latents have means that it wants a picture too.
    patch_size: latent pixels per token and side. row_multiple: what the number of image tokens is padded to.
    in_place: whether blocks change tensors that an earlier block's backward pass needs, or that were captured.
    width: the channels of every token, for transformers.
    """

    title: str
    network: type[nn.Module]
    blocks: tuple[Blocks, ...]
    latent_channels: Callable[[Any], int] = lambda network: network.in_channels
    patch_size: Callable[[Any], int] = lambda network: network.patch_size
    row_multiple: Callable[[Any], int] = lambda network: 1
    in_place: bool = False
    width: Callable[[Any], int] = lambda network: network.hidden_size


def _channels_of_patches(network: Any) -> int:
    return network.in_channels // network.patch_size**2


ARCHITECTURES = (
    Architecture(
        "Stable Diffusion 1.x, 2.x, SDXL and its refiner", UNetModel,
        (Blocks("input_blocks", Rows.MAP, patch="patches: input_block_patch"),
         Blocks(MIDDLE_BLOCK, Rows.MAP, patch="patches: middle_block_after_patch"),
         Blocks("output_blocks", Rows.MAP)),
        patch_size=lambda network: 1),
    Architecture(
        "Stable Diffusion 3 and 3.5", OpenAISignatureMMDITWrapper,
        (Blocks("joint_blocks", Rows.IMAGE, element=1, patch="patches_replace: double_block"),)),
    Architecture(
        "Flux and Flux 2", comfy.ldm.flux.model.Flux,
        (Blocks("double_blocks", Rows.IMAGE, element=0, patch="patches_replace: double_block"),
         Blocks("single_blocks", Rows.TEXT_THEN_IMAGE, patch="patches_replace: single_block")),
        latent_channels=_channels_of_patches, in_place=True),
    Architecture(
        "Chroma", comfy.ldm.chroma.model.Chroma,
        (Blocks("double_blocks", Rows.IMAGE, element=0, patch="patches_replace: double_block"),
         Blocks("single_blocks", Rows.TEXT_THEN_IMAGE, patch="patches_replace: single_block")),
        latent_channels=_channels_of_patches, in_place=True),
    Architecture(
        "PixArt alpha and sigma", comfy.ldm.pixart.pixartms.PixArtMS,
        (Blocks("blocks", Rows.IMAGE),)),
    Architecture(
        "AuraFlow", comfy.ldm.aura.mmdit.MMDiT,
        (Blocks("double_layers", Rows.IMAGE, element=1, patch="patches_replace: double_block"),
         Blocks("single_layers", Rows.TEXT_THEN_IMAGE, patch="patches_replace: single_block")),
        latent_channels=lambda network: network.init_x_linear.in_features // network.patch_size**2,
        width=lambda network: network.init_x_linear.out_features),
    Architecture(
        "HunyuanDiT", comfy.ldm.hydit.models.HunYuanDiT,
        (Blocks("blocks", Rows.IMAGE, patch="patches_replace: double_block"),)),
    Architecture(
        "Lumina 2 and Z-Image", comfy.ldm.lumina.model.NextDiT,
        (Blocks("noise_refiner", Rows.IMAGE, patch="patches: noise_refiner"),
         Blocks("layers", Rows.TEXT_THEN_IMAGE, patch="patches: double_block")),
        row_multiple=lambda network: network.pad_tokens_multiple or 1, width=lambda network: network.dim),
    Architecture(
        "Qwen-Image", comfy.ldm.qwen_image.model.QwenImageTransformer2DModel,
        (Blocks("transformer_blocks", Rows.IMAGE, element=1, patch="patches: double_block"),),
        latent_channels=_channels_of_patches, width=lambda network: network.inner_dim),
)


@dataclass(frozen=True)
class Place:
    """One block of a network at which features of `width` channels can be read. `module` is called exactly once in a
    forward pass."""

    name: str
    module: nn.Module
    blocks: Blocks
    patch_size: int
    row_multiple: int
    width: int

    def features(self, output: Any, size: tuple[int, int]) -> Tensor:
        """The image's features (B, C, h, w) in what `module` returned for latents of `size` (H, W)."""
        tokens = output if self.blocks.element is None else output[self.blocks.element]
        if self.blocks.rows is Rows.MAP:
            return tokens
        grid = self._grid(size)
        tokens = tokens[:, self._image(tokens, grid)]  # (B, h w, C)
        return tokens.transpose(1, 2).unflatten(2, grid)  # (B, C, h, w)

    def shifted(self, output: Any, size: tuple[int, int], change: Tensor) -> Any:
        """What `module` returned for latents of `size` (H, W), with `change` (B, C) added to the image's features
        everywhere, and to nothing else; what it returned stays as it is."""
        element = self.blocks.element
        tokens = output if element is None else output[element]
        if self.blocks.rows is Rows.MAP:
            tokens = tokens + change[:, :, None, None]
        else:
            image, moved = self._image(tokens, self._grid(size)), tokens.clone()
            moved[:, image] += change[:, None]
            tokens = moved
        return tokens if element is None else type(output)((*output[:element], tokens, *output[element + 1:]))

    def _grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """The rows and columns (h, w) of patches; latents are padded to whole ones."""
        height, width = (-(-side // self.patch_size) for side in size)
        return height, width

    def _image(self, tokens: Tensor, grid: tuple[int, int]) -> slice:
        """Where the image is among tokens (B, rows, C)."""
        count, start = grid[0] * grid[1], 0
        if self.blocks.rows is Rows.TEXT_THEN_IMAGE:
            start = tokens.shape[1] - -(-count // self.row_multiple) * self.row_multiple
        return slice(start, start + count)


def architecture_of(network: nn.Module) -> Architecture:
    """The row of the table for a network. Raises ValueError naming its class if there is none."""
    for architecture in ARCHITECTURES:
        # A subclass may well do something else in its blocks, so it has to have a row of its own.
        if type(network) is architecture.network:
            return architecture
    known = "; ".join(architecture.title for architecture in ARCHITECTURES)
    raise ValueError(f"This model is a {type(network).__name__}, and it is not known where its features can be read. "
                     f"Connect a model of one of these: {known}.")


def places(network: nn.Module) -> dict[str, Place]:
    """Every place of a network by its name, in the order in which they run. Raises ValueError for unknown networks."""
    architecture = architecture_of(network)
    patch_size, multiple = architecture.patch_size(network), architecture.row_multiple(network)
    return {name: Place(name, module, blocks, patch_size, multiple, _width(architecture, network, module, blocks))
            for blocks in architecture.blocks for name, module in _modules_of(network, blocks)}


def _width(architecture: Architecture, network: Any, module: Any, blocks: Blocks) -> int:
    if blocks.rows is Rows.MAP:
        # Core's attention blocks of U-Nets give as many channels as they take, and know no others.
        return module.out_channels if hasattr(module, "out_channels") else module.in_channels
    return architecture.width(network)


def _modules_of(network: nn.Module, blocks: Blocks) -> Iterator[tuple[str, nn.Module]]:
    held = getattr(network, blocks.path)
    if blocks.path == MIDDLE_BLOCK:
        held, names = [] if held is None else [held], [MIDDLE_BLOCK]
    else:
        names = [f"{blocks.path}.{index}" for index in range(len(held))]
    for name, block in zip(names, held):
        # Blocks of a U-Net are containers that are iterated and not called: only their last module's hook ever fires.
        yield name, block[-1] if blocks.rows is Rows.MAP else block


def default_layer(network: nn.Module) -> str:
    """What `auto` stands for: a U-Net's middle block, and the last block of anything else.

    The middle block is the choice of arXiv 2603.29239, which calls its choice for transformers, the output of the last
    block, preliminary. A distilled U-Net without a middle block is read where that would be, after its last input
    block.
    """
    names = list(places(network))
    if MIDDLE_BLOCK in names:
        return MIDDLE_BLOCK
    if isinstance(network, UNetModel):
        return [name for name in names if name.startswith("input_blocks")][-1]
    return names[-1]


def works_in_place(network: nn.Module) -> bool:
    """Whether blocks of a network may change what was saved for a backward pass. Unknown networks may."""
    return all(architecture.in_place for architecture in ARCHITECTURES if type(network) is architecture.network)


def called_modules(network: nn.Module) -> list[nn.Module]:
    """The modules that make up all blocks and are called one after the other; what a block checkpoint wraps."""
    found = []
    for blocks in architecture_of(network).blocks:
        held = getattr(network, blocks.path)
        if held is not None:
            children = [held] if blocks.path == MIDDLE_BLOCK else held
            found += [module for block in children for module in (block if blocks.rows is Rows.MAP else [block])]
    return found
