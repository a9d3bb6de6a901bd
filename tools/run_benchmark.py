"""Run a script of benchmarks/ in the pinned environment: python tools/run_benchmark.py NAME [--quick] [--json FILE]

Options that are not known here are the benchmark's own and are passed on to it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import environment as environments
import workspace
from console import Explained, run, run_child, say
from run_tests import variables

BENCHMARKS = workspace.PACK / "benchmarks"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="run_benchmark.py", description="Run a benchmark in the pinned environment.")
    parser.add_argument("name", metavar="NAME", help="a script of benchmarks/, without its ending")
    parser.add_argument("--quick", action="store_true", help="a smaller run of at most five minutes on two cores")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the figures as one flat JSON object")
    options, own = parser.parse_known_args(arguments)
    # Code that several benchmarks share has a name that starts with an underscore.
    names = sorted(script.stem for script in BENCHMARKS.glob("[!_]*.py"))
    if options.name not in names:
        raise Explained(f"There is no benchmark called {options.name}. There are: {', '.join(names) or 'none'}.")
    environment = environments.prepare(say)
    command = [str(environment.python), str(BENCHMARKS / f"{options.name}.py"), *own]
    if options.quick:
        command.append("--quick")
    if options.json:
        command += ["--json", str(options.json.resolve())]
    return run_child(command, workspace.PACK, variables(environment))


if __name__ == "__main__":
    run(main)
