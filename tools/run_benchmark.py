"""Run a script of benchmarks/ in the pinned environment: python tools/run_benchmark.py NAME [--quick] [--json FILE]

Options that are not known here are the benchmark's own and are passed on to it; `NAME --help` shows them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import environment as environments
import workspace
from console import Explained, run, run_child, say
from run_tests import variables

BENCHMARKS = workspace.PACK / "benchmarks"
SHARED = "support"  # a package that the scripts import, and no benchmark


def main(arguments: list[str]) -> int:
    found = scripts(BENCHMARKS)
    names = ", ".join(sorted(found)) or "none"
    parser = argparse.ArgumentParser(prog="run_benchmark.py", description="Run a benchmark in the pinned environment.",
                                     epilog=f"Benchmarks: {names}.", add_help=False)
    parser.add_argument("name", metavar="NAME", help="a script of benchmarks/, without its folder and ending")
    parser.add_argument("-h", "--help", action="store_true", help="show this; after NAME the benchmark's own options")
    parser.add_argument("--quick", action="store_true", help="a smaller run of at most five minutes on two cores")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the figures as one flat JSON object")
    parser.add_argument("--ray", action="store_true", help="install Ray first, once, for a benchmark that needs it")
    if arguments in (["-h"], ["--help"]):
        parser.print_help()
        return 0
    options, own = parser.parse_known_args(arguments)
    if options.name not in found:
        raise Explained(f"There is no benchmark called {options.name}. There are: {names}.")
    environment = environments.prepare(say)
    if options.ray:
        environments.ray_folder(environment, say, install=True)
    command = [str(environment.python), str(found[options.name]), *own]
    if options.help:
        command.append("--help")
    if options.quick:
        command.append("--quick")
    if options.json:
        command += ["--json", str(options.json.resolve())]
    return run_child(command, workspace.PACK, {**variables(environment), **import_path()})


def scripts(folder: Path) -> dict[str, Path]:
    """The benchmarks in a folder and the folders in it, by name; raises `Explained` if two have the same.

    What begins with an underscore is code that the benchmarks beside it use.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).parts
        if parts[0] == SHARED or any(part.startswith(("_", ".")) for part in parts):
            continue
        if path.stem in found:
            raise Explained(f"Two benchmarks are called {path.stem}: {found[path.stem]} and {path}. Rename one.")
        found[path.stem] = path
    return found


def import_path() -> dict[str, str]:
    """The environment variable by which scripts, and processes that they start, find the package that they share.

    It must not name the repository's root, where this pack's package `nodes` would hide ComfyUI's module of that name.
    """
    return {"PYTHONPATH": str(BENCHMARKS)}


if __name__ == "__main__":
    run(main)
