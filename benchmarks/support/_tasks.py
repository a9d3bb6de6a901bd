"""The tasks of a long benchmark: shared between processes, and kept as they are done."""
from __future__ import annotations

import argparse
import functools
import hashlib
import os
import pickle
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from ._paths import ROOT

# Options that no task's result depends on.
OUTSIDE = {"json", "keep", "parts", "plot", "sheet", "workers"}
# Folders that the first run that asks for them fills, always with the same.
PINNED = {"data"}
CODE = ("dma", "nodes", "benchmarks", "demo", "tools")


def results_of(pool: Executor, function: Callable[..., Any], tasks: Iterable[Any],
               arguments: argparse.Namespace) -> list[Any]:
    """`function(task, arguments=arguments)` for each task, in the pool's processes.

    With --keep each result is written to that folder as soon as it is there, and a later run takes it from there: one
    with the same options and the same files behind them, on the same code, demo weights and complete runs. Read a
    folder only that a benchmark wrote: pickled results can run code.
    """
    function = functools.partial(function, arguments=arguments)
    if arguments.keep is None:
        return list(pool.map(function, tasks))
    arguments.keep.mkdir(parents=True, exist_ok=True)
    options = sorted((name, repr(value), _stamps(name, value)) for name, value in vars(arguments).items()
                     if name not in OUTSIDE)
    key = hashlib.sha256(f"{_code()} {options}".encode()).hexdigest()
    return list(pool.map(functools.partial(_kept, function=function, folder=arguments.keep, key=key), tasks))


def _kept(task: Any, function: functools.partial, folder: Path, key: str) -> Any:
    own = {name: value for name, value in function.keywords.items() if name != "arguments"}
    # By its file: the module of every benchmark is called __main__.
    source = Path(function.func.__code__.co_filename).name
    asked = f"{key} {source} {function.func.__qualname__} {function.args!r} {own!r} {task!r}"
    path = folder / f"{hashlib.sha256(asked.encode()).hexdigest()[:24]}.pickle"
    if path.exists():
        return pickle.loads(path.read_bytes())
    result = function(task)
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_bytes(pickle.dumps(result))
    partial.replace(path)
    return result


def _stamps(name: str, value: Any) -> list[tuple[str, int, int]]:
    """What tells one content of the files behind an option from another."""
    if not isinstance(value, Path) or (name in PINNED and not value.is_file()):
        return []
    paths = sorted(value.rglob("*")) if value.is_dir() else [value]
    return [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths if path.is_file()]


@functools.cache
def _code() -> str:
    """A hash of everything that a result comes from, but for the packages."""
    found = hashlib.sha256()
    for folder in CODE:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in {".json", ".py", ".safetensors"}:
                found.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return found.hexdigest()
