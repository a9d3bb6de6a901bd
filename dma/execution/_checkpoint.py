"""A long run's state on disk: saved whole or not at all, found again by its settings, cleaned by age and size."""
from __future__ import annotations

import hashlib
import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..files import replacing

FORMAT = "mental-averages/run-state-1"
LONGEST_AGE_DAYS = 14.0
LARGEST_TOTAL_BYTES = 4 * 1024**3


def run_key(settings: dict, tensors: dict[str, Tensor]) -> str:
    """A name for a run: a hash of its JSON-able settings and of the exact content of tensors it depends on."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        # Flat first: a tensor without dimensions, which a number of a conditioning is, cannot be viewed as bytes.
        digest.update(value.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:32]


@dataclass(frozen=True)
class RunState:
    """The saved state of the run `key` in `folder`.

    `fingerprint` is what the model answers to a fixed question. A state whose fingerprint differs comes from another
    model and is not resumed.
    """

    folder: Path
    key: str
    fingerprint: Tensor

    @property
    def path(self) -> Path:
        return self.folder / f"{self.key}.safetensors"

    def load(self) -> tuple[dict[str, Tensor], dict] | None:
        """Tensors and meta data of the last save, or None if there is none that fits; a damaged file is removed."""
        from safetensors import SafetensorError, safe_open

        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                header = file.metadata() or {}
                if header.get("format") != FORMAT:
                    raise ValueError("unknown format")
                # Cloned, because the file may be replaced while a memory-mapped tensor of it is still in use.
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}
            if not all(torch.isfinite(value).all() for value in tensors.values()):
                raise ValueError("it holds NaN or infinity")
            meta = json.loads(header["meta"])
            fingerprint = tensors.pop("fingerprint")
        except (SafetensorError, ValueError, KeyError, OSError) as error:
            logging.warning("Removing the damaged run state %s (%s).", self.path.name, error)
            self.remove()
            return None
        if fingerprint.shape != self.fingerprint.shape or not torch.allclose(
                fingerprint, self.fingerprint, rtol=1e-5, atol=1e-5 * self.fingerprint.std().item()):
            logging.info("A saved state for these settings comes from another model: starting anew.")
            return None
        return tensors, meta

    def save(self, tensors: dict[str, Tensor], meta: dict) -> None:
        """Replace the state in one step. A full disk is a warning, not an error: the run goes on, its last state
        stays."""
        from safetensors.torch import save_file

        if not all(torch.isfinite(value).all() for value in tensors.values()):
            logging.warning("The state of this run holds NaN or infinity and is not saved.")
            return
        content = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        content["fingerprint"] = self.fingerprint
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(self.path) as temporary:
                save_file(content, temporary, metadata={"format": FORMAT, "meta": json.dumps(meta)})
        except Exception as error:  # safetensors reports a full disk by an exception type of its own
            logging.warning("The state of this run could not be saved (%s); the run goes on without.", error)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def clean_states(folder: Path, keep: str = "", longest_age_days: float = LONGEST_AGE_DAYS,
          largest_total_bytes: int = LARGEST_TOTAL_BYTES) -> list[str]:
    """Remove states not used for `longest_age_days`, then the oldest until the rest fits `largest_total_bytes`.

    The state named `keep` is never removed. Returns the names of removed files.
    """
    if not folder.is_dir():
        return []
    files = [(path.stat().st_mtime, path.stat().st_size, path) for path in folder.iterdir()
             if path.suffix in (".safetensors", ".tmp") and path.stem != keep]
    total, removed, oldest_allowed = sum(size for _, size, _ in files), [], time.time() - longest_age_days * 86400
    for modified, size, path in sorted(files):
        # An abandoned temporary file is an hour old at most before it goes.
        expired = modified < oldest_allowed or (path.suffix == ".tmp" and modified < time.time() - 3600)
        if expired or total > largest_total_bytes:
            path.unlink(missing_ok=True)
            removed.append(path.name)
            total -= size
    return removed
