"""Run the tests in the pinned environment: python tools/run_tests.py [--ray] [pytest arguments]

Tests of work on Ray are run once it is installed, which --ray sees to, and are skipped before.
"""

from __future__ import annotations

import os
import re

import environment as environments
import workspace
from console import run, run_child, say
from installing import child_variables

# Neither `pytest` as a module nor its script keeps the current folder off the import path everywhere; there,
# this pack's `nodes` folder would hide ComfyUI's module of that name.
START = "import sys; sys.path[:] = filter(None, sys.path); import pytest; sys.exit(pytest.main(sys.argv[1:]))"

# Each process starts a ComfyUI of its own for some tests, which takes about 3 GB of memory with the demo model.
MOST_PROCESSES = 4
RAY = "--ray"
PROCESSES = re.compile(r"-n.*|--numprocesses.*")  # how many are chosen; a short option may have its value attached
ONE_PROCESS = re.compile(r"--pdb.*|--trace|--capture=no|-[qvxl]*s[qvxl]*")  # what works in one process alone


def main(arguments: list[str]) -> int:
    environment = environments.prepare(say)
    if RAY in arguments:
        environments.ray_folder(environment, say, install=True)
        arguments = [argument for argument in arguments if argument != RAY]
    # With the tests' folder as root, pytest does not import the pack's own __init__.py, which needs ComfyUI.
    command = [str(environment.python), "-c", START, "--import-mode=importlib",
               f"--rootdir={workspace.PACK / 'tests'}", "-p", "no:cacheprovider", *arguments]
    chosen = variables(environment)
    if not any(_names_tests(argument) for argument in arguments):
        command.append("tests")
        if not any(PROCESSES.fullmatch(argument) or ONE_PROCESS.fullmatch(argument) for argument in arguments):
            command += ["-n", str(min(os.cpu_count() or 1, MOST_PROCESSES))]
    if any(map(PROCESSES.fullmatch, command)):
        if not any(argument.startswith("--dist") for argument in arguments):
            # Neighbours share fixtures, so each process begins with a piece of its own, and helps when it is done.
            command += ["--dist", "worksteal"]
        # Tests are small: a process for each core serves them better than several threads, which wait for each other.
        chosen.setdefault("OMP_NUM_THREADS", "1")
    return run_child(command, workspace.PACK, chosen)


def variables(environment: environments.Environment) -> dict[str, str]:
    """Environment variables for tests and benchmarks: where ComfyUI and the assembled demo checkpoint are."""
    checkpoint = workspace.demo_checkpoint(environment, workspace.default_base(), say)
    found = {**child_variables(), "MENTAL_AVERAGES_COMFYUI": str(environment.comfyui),
             "MENTAL_AVERAGES_CHECKPOINT": str(checkpoint)}
    ray = environments.ray_folder(environment, say)
    return found if ray is None else {**found, "MENTAL_AVERAGES_RAY": str(ray)}


def _names_tests(argument: str) -> bool:
    path = workspace.PACK / argument.split("::")[0]
    return path.exists() and (workspace.PACK / "tests") in (path, *path.parents)


if __name__ == "__main__":
    run(main)
