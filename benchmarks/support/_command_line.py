"""The command line of a benchmark, and the processes that share its work."""
from __future__ import annotations

import argparse
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

import environment

ICONS = dict(type=Path, default=environment.home() / "icons", help="folder of the icon sets")  # an option


def parse_arguments(description: str, **extra: Any) -> argparse.Namespace:
    """The options --quick, --json, --keep and those of `extra`, by name with what `add_argument` takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a smaller run of at most five minutes on two cores")
    parser.add_argument("--json", type=Path, help="write the figures here as one flat JSON object")
    parser.add_argument("--keep", type=Path, help="keep what is done of a long run in this folder, and go on from it")
    for name, options in extra.items():
        parser.add_argument(f"--{name.replace('_', '-')}", **options)
    return parser.parse_args()


def fill_in(arguments: argparse.Namespace, **sizes: tuple[Any, Any]) -> None:
    """Give options that were left out their size: (of a full run, of a quick one)."""
    for name, (full, quick) in sizes.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, quick if arguments.quick else full)


def check_least(arguments: argparse.Namespace, **least: int) -> None:
    """Raise SystemExit where an option has a smaller number than one that figures can be made of."""
    for name, fewest in least.items():
        if getattr(arguments, name) < fewest:
            raise SystemExit(f"--{name} is {getattr(arguments, name)}, but the figures take {fewest} or more.")


def processes(count: int) -> ProcessPoolExecutor:
    """Fresh processes that share the cores between them, and have no more threads each than this one; what they run has
    to be a function of a module."""
    threads = max(1, min(torch.get_num_threads(), (os.cpu_count() or 1) // count))
    return ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"), initializer=_use_threads,
                               initargs=(threads,))


def _use_threads(count: int) -> None:
    torch.set_num_threads(count)
