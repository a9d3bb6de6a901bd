"""A long run's state on disk: saved whole or not at all, found again by its settings and by what its model answers.

Nothing here ends a run: what cannot be saved, read or removed is a line in the log.
"""
from __future__ import annotations

import glob
import hashlib
import json
import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..files import replacing
from ..precision import in_double

FORMAT = "mental-averages/run-state-1"
ENDING = ".safetensors"
SECONDS_BETWEEN_TRIES = (0.05, 0.2)

Found = TypeVar("Found")


def run_key(settings: dict, tensors: dict[str, Tensor]) -> str:
    """A name for a run: a hash of its JSON-able settings and of the exact content of tensors it depends on."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(_bytes_of(value))
    return digest.hexdigest()[:32]


def saved_states(folder: Path, key: str) -> list[Path]:
    """The files in `folder` that keep a state of the run `key`, one for each model that it was run on."""
    try:
        # Files of earlier versions have no model in their names.
        return sorted({*folder.glob(f"*.{glob.escape(key)}{ENDING}"), *folder.glob(f"{glob.escape(key)}{ENDING}")})
    except OSError as error:
        logging.warning("The folder of run states %s cannot be read (%s).", folder, error)
        return []


@dataclass(frozen=True)
class RunState:
    """The saved state of the run `key` in `folder`.

    `fingerprint` is what the model answers to a fixed question, one answer (n,) or a row for each of several (rows, n).
    It is part of the file's name, so that runs of one key on several models are kept side by side. A state belongs to
    this model if no row of its own fingerprint is further from it than `tolerance`, relative to the row's norm; among
    several the nearest is taken, and among equally near ones that into which more time has gone. `unreadable` are files
    that could not be read for now: they are left as they are.
    """

    folder: Path
    key: str
    fingerprint: Tensor
    tolerance: float = 1e-5
    unreadable: set[Path] = field(default_factory=set, compare=False, repr=False)
    # Where the state was found, or is to be: to look means to read all files of the run.
    looked_up: list[Path] = field(default_factory=list, init=False, compare=False, repr=False)

    @property
    def path(self) -> Path:
        """Where the state of this model is, or will be; it is looked for once, and again by `load`."""
        if not self.looked_up or self.looked_up[0] in self.unreadable:
            self.looked_up[:] = [self._nearest() or self._new()]
        return self.looked_up[0]

    def _new(self) -> Path:
        model = hashlib.sha256(_bytes_of(self.fingerprint)).hexdigest()[:16]
        path = self.folder / f"{model}.{self.key}{ENDING}"
        return path.with_name(f"{model}-again.{self.key}{ENDING}") if path in self.unreadable else path

    def load(self) -> tuple[dict[str, Tensor], dict] | None:
        """Tensors and meta data of the last save, or None if there is none that fits; a damaged file is removed.

        A file that cannot be read for a passing reason, such as a lock, the network or a lack of memory, is not
        damaged: it stays, and states are saved beside it. What is loaded counts as used now.
        """
        path = self._nearest()
        self.looked_up[:] = [] if path is None else [path]
        if path is None:
            return None
        found = self._opened(path, _whole)
        if found is not None:
            try:
                os.utime(path)
            except OSError as error:
                logging.info("The run state %s cannot be marked as used (%s).", path.name, error)
        return found

    def save(self, tensors: dict[str, Tensor], meta: dict) -> bool:
        """Replace the state in one step; whether that was possible. A full disk is a warning, not an error: the run
        goes on, its last state stays."""
        from safetensors.torch import save_file

        if not all(torch.isfinite(value).all() for value in tensors.values()):
            logging.warning("The state of this run holds NaN or infinity and is not saved.")
            return False
        try:
            content = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
            content["fingerprint"] = self.fingerprint.detach().cpu().contiguous()
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(self.path) as temporary:
                save_file(content, temporary, metadata={"format": FORMAT, "meta": json.dumps(meta)})
        except Exception as error:  # safetensors reports a full disk by an exception type of its own
            logging.warning("The state of this run could not be saved (%s); the run goes on without.", error)
            return False
        return True

    def remove(self) -> None:
        """Remove the state of this model, if it is there and can be removed."""
        _remove(self.path)

    def _nearest(self) -> Path | None:
        """The file of the model whose answers are nearest, among those within the tolerance."""
        candidates = [path for path in saved_states(self.folder, self.key) if path not in self.unreadable]
        known = [(path, self._opened(path, _fingerprint_and_seconds)) for path in candidates]
        distances = [(distance_of_answers(self.fingerprint, found[0]), -found[1], path)
                     for path, found in known if found is not None]
        # Of two of the same model one may be the beginning of a run for which the other was out of reach. Where times
        # are not known, the shorter name is that of the one which was there first.
        near = min(((distance, seconds, len(path.name), path) for distance, seconds, path in distances
                    if distance <= self.tolerance), default=None)
        if near is None and candidates:
            logging.info("The saved states for these settings come from other models: starting anew.")
        return near[3] if near else None

    def _opened(self, path: Path, read: Callable[[Any], Found]) -> Found | None:
        """What `read` finds in a state; None for one that is damaged, which is removed, or unreadable, which is not."""
        from safetensors import SafetensorError, safe_open

        problem: BaseException | None = None
        for seconds in (0.0, *SECONDS_BETWEEN_TRIES):
            time.sleep(seconds)
            try:
                before = _modified(path)
                with safe_open(path, framework="pt") as file:
                    if (file.metadata() or {}).get("format") != FORMAT:
                        raise ValueError("unknown format")
                    found = read(file)
                # It is opened by its name more than once: the tensors may be those of another save than the rest.
                if _modified(path) == before:
                    return found
                problem = OSError("it is being replaced")
            except (ValueError, KeyError) as error:
                problem = error
                break
            except (SafetensorError, OSError, MemoryError, RuntimeError) as error:
                problem = error
            try:
                # safetensors says the same of a file that it cannot map as of one that is damaged.
                if not _is_whole(path):
                    break
            except FileNotFoundError:
                return None  # removed meanwhile, perhaps by another server
            except (OSError, MemoryError) as error:
                problem = error
        else:
            logging.warning("The run state %s cannot be read for now (%s): it stays, and the run starts anew.",
                            path.name, problem)
            self.unreadable.add(path)
            return None
        logging.warning("Removing the damaged run state %s (%s).", path.name, problem)
        _remove(path)
        return None


def distance_of_answers(mine: Tensor, found: Tensor) -> float:
    """The largest relative distance |f - g| / |f| of two rows of fingerprints (rows, n) or (n,); infinite for another
    shape or no numbers.

    >>> distance_of_answers(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.tensor([[3.0, 3.0], [0.0, 0.0]]))
    0.2
    """
    if mine.shape != found.shape:
        return math.inf
    mine, found = (torch.atleast_2d(in_double(value)) for value in (mine, found))
    apart, size = (mine - found).norm(dim=1), mine.norm(dim=1)
    # A row of zeros is near to zeros alone.
    relative = torch.where(apart == 0, apart, apart / size)
    largest = relative.max().item() if relative.numel() else 0.0
    return math.inf if math.isnan(largest) else largest


def _bytes_of(value: Tensor) -> bytes:
    # Flat first: a tensor without dimensions, which a number of a conditioning is, cannot be viewed as bytes.
    return value.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()


def _fingerprint_and_seconds(file: Any) -> tuple[Tensor, float]:
    if "fingerprint" not in file.keys():
        raise KeyError("fingerprint")
    return file.get_tensor("fingerprint").clone(), float(json.loads(file.metadata()["meta"]).get("seconds", 0.0))


def _whole(file: Any) -> tuple[dict[str, Tensor], dict]:
    # Cloned, because the file may be replaced while a memory-mapped tensor of it is still in use.
    tensors = {name: file.get_tensor(name).clone() for name in file.keys() if name != "fingerprint"}
    if not all(torch.isfinite(value).all() for value in tensors.values()):
        raise ValueError("it holds NaN or infinity")
    return tensors, json.loads(file.metadata()["meta"])


def _is_whole(path: Path) -> bool:
    """Whether a file has the length that its header of the safetensors format asks for. Raises OSError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= size - 8:
            return False
        try:
            entries = json.loads(file.read(length))
            return size == 8 + length + max((entry["data_offsets"][1] for name, entry in entries.items()
                                             if name != "__metadata__"), default=0)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError):
            return False


def _modified(path: Path) -> float:
    """When a file was written or last used; long ago if that cannot be said."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return -math.inf


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        logging.warning("The run state %s cannot be removed (%s).", path.name, error)
