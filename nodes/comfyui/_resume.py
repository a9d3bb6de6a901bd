"""Saved states of runs: where they lie."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import folder_paths
from torch import Tensor

from ...dma import execution


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
