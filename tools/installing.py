"""Virtual environments and what pip puts into them: the parts that every environment of tools/ is made with.

Only the standard library is needed here.
"""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from console import Explained, Log, make_folder

LARGE_DOWNLOAD_MEGABYTES = 20


def child_variables() -> dict[str, str]:
    """Environment variables for a process of the environment's interpreter.

    Import paths of the calling shell are left out: with the repository root among them, this pack's `nodes`
    folder would hide ComfyUI's module of that name.
    """
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    variables["PYTHONUTF8"] = "1"
    # Threads that spin while they wait take the cores from those they wait for: beside other busy processes a forward
    # pass is several times slower with OpenMP's own count than with this one, which costs little on an idle machine.
    if "OMP_WAIT_POLICY" not in variables:
        variables.setdefault("GOMP_SPINCOUNT", "10000")
    return variables


def venv_python(venv: Path) -> Path:
    return venv / "Scripts" / "python.exe" if os.name == "nt" else venv / "bin" / "python"


def make_venv(venv: Path) -> None:
    made = subprocess.run([sys.executable, "-m", "venv", str(venv)], capture_output=True, text=True, errors="replace",
                          env=child_variables())
    if made.returncode:
        raise Explained("Python could not make a virtual environment. Some Linux systems keep that part in a package "
                        "called python3-venv: install it and try again.\n" + tail(made.stdout + made.stderr))


def pip(python: Path, folder: Path, log: Log, *arguments: str) -> None:
    options = ("--no-input", "--disable-pip-version-check", "--progress-bar", "off")
    command = [str(python), "-m", "pip", *arguments, *options]
    lines: list[str] = []
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, encoding="utf-8", errors="replace", env=child_variables())
    try:
        with open(folder / "pip.log", "a", encoding="utf-8") as record:
            for line in process.stdout:
                record.write(line)
                lines.append(line.rstrip())
                _report_pip_line(lines[-1].strip(), log)
        code = process.wait()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()
    if code:
        raise Explained(_explain_pip_failure("\n".join(lines)))


@contextlib.contextmanager
def locked(path: Path, log: Log) -> Iterator[None]:
    """Hold a lock of the operating system: it ends with its process, so it can never be left behind."""
    make_folder(path.parent, "Name another one in the environment variable MENTAL_AVERAGES_HOME.")
    with open(path, "a+b") as file:
        if not _try_lock(file):
            log("Another process is preparing the environment; waiting for it.")
            while not _try_lock(file):
                time.sleep(1)
        yield


def tail(output: str, count: int = 6) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    return "\n".join(f"  {line[:300]}" for line in lines[-count:])


def _try_lock(file: IO[bytes]) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _report_pip_line(line: str, log: Log) -> None:
    words = line.split()
    if line.startswith("Downloading") and len(words) == 4 and words[3] in ("MB)", "GB)"):
        if words[3] == "GB)" or float(words[2].strip("(")) >= LARGE_DOWNLOAD_MEGABYTES:
            log(f"  downloading {words[1].split('-')[0]} {words[2]} {words[3]}")
    elif line.startswith("Installing collected packages"):
        log(f"  installing {line.count(',') + 1} packages")


def _explain_pip_failure(output: str) -> str:
    no_network = ("NewConnectionError", "Failed to establish a new connection", "Temporary failure in name resolution",
                  "getaddrinfo failed", "Network is unreachable", "Max retries exceeded", "Read timed out",
                  "ConnectTimeout", "ProxyError", "Connection refused", "Connection broken")
    if "No space left on device" in output:
        reason = "The disk is full. Free some space and run the same command again."
    elif any(sign in output for sign in no_network):
        reason = ("The package index could not be reached. Check the network connection (and pip's proxy settings, if "
                  "there is a proxy) and run the same command again; what was downloaded is not downloaded again.")
    elif "No matching distribution found" in output:
        reason = (f"A package has no build for Python {platform.python_version()} on this machine ({platform.system()} "
                  f"{platform.machine()}). Python 3.11, 3.12 or 3.13 are the surest choice.")
    else:
        reason = "pip could not install the environment."
    return f"{reason} pip's last words were:\n{tail(output)}"
