"""Old states of runs are removed, by age and size, as far as they can be."""
from __future__ import annotations

import logging
import time
from pathlib import Path

LONGEST_AGE_DAYS = 14.0
LARGEST_TOTAL_BYTES = 4 * 1024**3
SECONDS_OF_A_TEMPORARY_FILE = 3600.0


def clean_states(folder: Path, keep: str = "", longest_age_days: float = LONGEST_AGE_DAYS,
                 largest_total_bytes: int = LARGEST_TOTAL_BYTES) -> list[str]:
    """Remove states not used for `longest_age_days`, then the oldest until the rest fits `largest_total_bytes`.

    States of runs whose key is or begins with `keep`, if given, are never removed, whatever model they are of. Returns
    the names of removed files. What cannot be looked at or removed, because another process has just renamed it or
    because the disk is read-only, stays with a line in the log.
    """
    try:
        if not folder.is_dir():
            return []
        paths = list(folder.iterdir())
    except OSError as error:
        logging.warning("The folder of run states %s cannot be cleaned (%s).", folder, error)
        return []
    files = []
    for path in paths:
        is_state = path.suffix == ".safetensors" and not (keep and path.stem.split(".")[-1].startswith(keep))
        # safetensors writes to temporary files of its own, .tmp and six letters.
        if is_state or _is_temporary(path):
            try:
                found = path.stat()
                files.append((found.st_mtime, found.st_size, path))
            except OSError as error:
                logging.info("The run state %s is skipped by cleaning (%s).", path.name, error)
    now, total, removed = time.time(), sum(size for _, size, _ in files), []
    for modified, size, path in sorted(files):
        # An abandoned temporary file is an hour old at most before it goes.
        expired = modified < now - (SECONDS_OF_A_TEMPORARY_FILE if _is_temporary(path) else longest_age_days * 86400)
        if expired or (total > largest_total_bytes and not _is_temporary(path)):
            try:
                path.unlink()
                removed.append(path.name)
            except FileNotFoundError:
                pass  # another process was faster
            except OSError as error:
                logging.warning("The old run state %s cannot be removed (%s).", path.name, error)
                continue
            total -= size
    return removed


def _is_temporary(path: Path) -> bool:
    return path.suffix == ".tmp" or (path.name.startswith(".tmp") and not path.suffix)
