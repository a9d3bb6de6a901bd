"""Where workers have their Denoisers from."""
from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..choices import check_choice
from ..models import from_pipeline

PRECISIONS = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class PipelineSource:
    """The Denoisers of a diffusers pipeline, for `RayWorkers`, for `on_devices` and for this process alike: call it.

    folder: of a pipeline, where every worker finds it. precision: one of `PRECISIONS`. further: guidance scales of
    further Denoisers by their names, as mean shift averages at another one than it ends with; the first is called "".
    The other fields are those of `dma.models.from_pipeline`.
    """

    folder: str
    prompt: str
    negative_prompt: str = ""
    guidance_scale: float = 7.0
    layer: str = "auto"
    branch: str = "conditional"
    size: tuple[int, int] | None = None
    precision: str = "float32"
    further: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_choice(self.precision, PRECISIONS, "precision")

    def __call__(self, device: str = "") -> Any:
        """The Denoiser on a device, by default a card where there is one, or a dict of all where there are further
        ones. Raises ValueError where there is no such folder."""
        from diffusers import DiffusionPipeline

        if not Path(self.folder).is_dir():
            raise ValueError(f"There is no folder of a pipeline at {self.folder}.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # new versions call it dtype, older ones do not know that
            pipe = DiffusionPipeline.from_pretrained(self.folder, torch_dtype=getattr(torch, self.precision))
        pipe = pipe.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        found = {name: from_pipeline(pipe, self.prompt, negative_prompt=self.negative_prompt, guidance_scale=scale,
                                     layer=self.layer, branch=self.branch, size=self.size)
                 for name, scale in {"": self.guidance_scale, **self.further}.items()}
        return found if self.further else found[""]
