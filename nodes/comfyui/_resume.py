"""Saved states of runs: where they lie, and what tells the model apart that they belong to."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import folder_paths
import torch
from torch import Tensor

from ...dma import diffusion, execution
from ...dma.diffusion import starting_noise


def run_state_folder() -> Path:
    """The folder of saved run states, under ComfyUI's user directory (the temp directory is emptied at every start)."""
    return Path(folder_paths.get_user_directory()) / "mental_averages" / "runs"


def run_state(key: str, fingerprint: Tensor) -> execution.RunState:
    """The state of the run `key` on a model that answers `fingerprint`; old states of other runs are removed first."""
    execution.clean_states(run_state_folder(), keep=key)
    return execution.RunState(run_state_folder(), key, fingerprint)


def checkpoints(place: Any) -> list[execution.Checkpoint]:
    """The watcher that saves a run's state in a place; none without a place."""
    return [] if place is None else [execution.Checkpoint(place)]


FINGERPRINT_VALUES = 2048


def fingerprint(denoiser: Any, sigmas: Tensor, shape: tuple[int, ...]) -> Tensor:
    """What the model answers to fixed noise at two noise levels: tells apart models, patches and ControlNets."""
    noise = diffusion.starting_noise(1, shape, seed=0).to(denoiser.device)
    answers = []
    for sigma in (sigmas[0].item(), sigmas[(len(sigmas) - 1) // 2].item()):
        with torch.no_grad():
            answers += [denoiser.features(sigma * noise, sigma).flatten(),
                        denoiser.denoise(sigma * noise, sigma).flatten()]
    together = torch.cat(answers).cpu()
    return together[:: max(1, len(together) // FINGERPRINT_VALUES)].clone()


def training_fingerprint(denoiser: Any, levels: Tensor, shape: tuple[int, ...]) -> Tensor:
    """What the model predicts from fixed noise at two noise levels: tells apart models and their patches."""
    noise = starting_noise(1, shape, seed=0).to(denoiser.device)
    answers = [denoiser.denoise(sigma * noise, sigma).flatten()
               for sigma in (levels[-1].item(), levels[len(levels) // 2].item())]
    return torch.cat(answers).cpu()
