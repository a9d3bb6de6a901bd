"""The Inception network of FID and KID, as the package torch-fidelity has it, with weights that run no code."""
from __future__ import annotations

import importlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..execution import BatchSize, Watcher
from ..files import replacing
from ._embed import over_batches
from ._published_weights import read_tensors

PACKAGE, VERSION = "torch-fidelity", "0.4.0"
LAYER = "2048"  # the pooled features that FID and KID are taken of
SHAPES = {"Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3), "fc.weight": (1008, 2048)}  # by which the file is known


def load_inception(weights: Path) -> Any:
    """torch-fidelity's network on the CPU, with the weights of a safetensors file that `write_inception` has made.

    The package reads its own file in a way that may run code in it, and is never given that. Raises ValueError where
    the package is not installed, and for a file that is missing, damaged or of another network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        module = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
    except ImportError as error:
        raise ValueError(f"FID and KID on Inception take the package {PACKAGE} ({error}): install it, as in "
                         f"python -m pip install {PACKAGE}=={VERSION}.") from error
    if not weights.is_file():
        raise ValueError(f"There is no file {weights}: write it by write_inception, out of the file that "
                         f"{PACKAGE} publishes.")
    try:
        tensors = load_file(weights)
        written = io.BytesIO()  # what is read in that way is what has just been written here
        torch.save(tensors, written)
        written.seek(0)
        return module.FeatureExtractorInceptionV3("inception", [LAYER], feature_extractor_weights_path=written)
    except (SafetensorError, OSError, RuntimeError) as error:
        raise ValueError(f"{weights.name} is damaged or of another network ({' '.join(str(error).split())[:200]}): "
                         "write it again.") from error


def inception_features(network: Any, images: Tensor, *, batch: BatchSize | None = None,
                       watchers: Sequence[Watcher] = ()) -> Tensor:
    """Features (N, 2048), fp32 on the CPU, of pictures (N, H, W, 3) in [0, 1], rounded to 8 bits as in files.

    `metrics.frechet_distance` of those of two sets is FID; `metrics.kernel_subsets`, KID. They are not scaled to unit
    length. `network` is that of `load_inception`; `batch` and `watchers` are those of `over_batches`. Raises ValueError
    where `check_images` does.
    """
    device = next(network.parameters()).device

    def features(pictures: Tensor) -> Tensor:
        pixels = (255 * pictures[..., :3].float().clamp(0, 1)).round().to(device, torch.uint8)  # (B, H, W, 3)
        return network(pixels.permute(0, 3, 1, 2))[0].float().cpu()  # (B, 2048)

    return torch.cat(over_batches(images, features, batch=batch, watchers=watchers))


def write_inception(source: Path, weights: Path) -> None:
    """Write a safetensors file out of weights-inception-2015-12-05-6726825d.pth, which torch-fidelity publishes and
    reads in a way that may run code.

    Raises ValueError for a file that is missing, damaged or another one.
    """
    from safetensors.torch import save_file

    tensors = read_tensors(source)
    for name, shape in SHAPES.items():
        if name not in tensors or tuple(tensors[name].shape) != shape:
            raise ValueError(f"{source.name} has no tensor {name} of shape {shape}: it is not the file that "
                             f"{PACKAGE} publishes.")
    weights.parent.mkdir(parents=True, exist_ok=True)
    with replacing(weights) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary)
