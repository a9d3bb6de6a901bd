"""ComfyUI's page in its newest release, beside the environment, whose own page is the one that its ComfyUI names.

    folder = newest(environment, print)
    comfy_server.start(environment, base, extra_args=["--front-end-root", str(folder)])

Only the standard library is needed here.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from pathlib import Path

from console import Explained, Log
from environment import Environment, home
from installing import locked, pip

PACKAGE = "comfyui-frontend-package"
STATIC = Path("comfyui_frontend_package") / "static"
SECONDS_BETWEEN_LOOKS = 24 * 3600.0
KEPT = 2  # a server may still be running on the one before


def newest(environment: Environment, log: Log, *, now: float | None = None) -> Path:
    """The folder of the newest page that the package index has, which is asked once a day.

    Without the package index it is the one that was found last. `now` is the time, in seconds as time.time() has them.
    Raises `Explained` if none was ever found.
    """
    folder = home() / "environments" / "newest-frontend"
    now = time.time() if now is None else now
    with locked(folder.with_suffix(".lock"), log):
        looked, found = _last_look(folder)
        if found is not None and 0 <= now - looked < SECONDS_BETWEEN_LOOKS:
            return found / STATIC
        try:
            found = _install(environment, folder, log)
        except Explained as failure:
            if found is None:
                raise
            log(f"ComfyUI's page is {found.name}, perhaps not the newest. {failure}")
            return found / STATIC
        # Whole or not at all, whatever interrupts it.
        noted = folder / "ready.json.new"
        noted.write_text(json.dumps({"looked": now, "version": found.name}), encoding="utf-8")
        noted.replace(folder / "ready.json")
    return found / STATIC


def _last_look(folder: Path) -> tuple[float, Path | None]:
    """When the package index was asked last, and the folder of what it had, if that is there."""
    ready = folder / "ready.json"
    if not ready.is_file():
        return 0.0, None
    noted = json.loads(ready.read_text(encoding="utf-8"))
    found = folder / noted["version"]
    return noted["looked"], found if (found / STATIC / "index.html").is_file() else None


def _install(environment: Environment, folder: Path, log: Log) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="installing-") as place:
        log("Looking for the newest page of ComfyUI: about 30 MB to download, 130 MB on disk.")
        packages = Path(place) / "packages"
        pip(environment.python, folder, log, "install", "--no-deps", "--target", str(packages), PACKAGE)
        if not (packages / STATIC / "index.html").is_file():
            raise Explained(f"{PACKAGE} holds no {STATIC.as_posix()}/index.html: it has another form than before.")
        about = next(packages.glob("*.dist-info"))
        found = folder / about.name.removesuffix(".dist-info").split("-")[1]
        if not (found / STATIC / "index.html").is_file():
            shutil.rmtree(found, ignore_errors=True)  # something has been lost of it since
            packages.rename(found)
    # Folders are ordered by when they were the newest.
    found.touch()
    versions = [path for path in folder.iterdir() if (path / STATIC).is_dir()]
    for old in sorted(versions, key=lambda path: path.stat().st_mtime)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return found
