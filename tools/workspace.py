"""The folder that a ComfyUI server works in: this pack, the checkpoints, and what it writes.

A base folder holds `custom_nodes/mental-averages` (a link to this checkout), `models/checkpoints`, `input`,
`output` and `user`. Each checkout of the pack has one of its own in the user's cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import environment as environments
from console import Explained, Log

PACK = Path(__file__).resolve().parents[1]
PACK_NAME = "mental-averages"
DEMO_CHECKPOINT = "mental_averages_demo.safetensors"
TRANSFORMER_CHECKPOINT = "mental_averages_demo_transformer.safetensors"
# What demo/assemble.py makes: by file name, its options and the files of demo/ that it is made of.
ASSEMBLED = {
    DEMO_CHECKPOINT: ([], ["assemble.py", "weights.py", "weights.safetensors", "text_table.py"]),
    TRANSFORMER_CHECKPOINT: (["--transformer"], ["assemble.py", "weights.py", "weights.safetensors", "text_table.py",
                                                 "transformer.py", "transformer_weights.safetensors"]),
}


def default_base() -> Path:
    """This checkout's base folder, made if it is not there."""
    workspaces = environments.home() / "workspaces"
    base = make_base(workspaces / hashlib.sha256(str(PACK).encode()).hexdigest()[:12])
    for other in workspaces.iterdir():
        if not (other / "custom_nodes" / PACK_NAME).exists():
            # Its checkout is gone. Only what can be made again is removed: its pictures may be wanted.
            for name in ASSEMBLED:
                with contextlib.suppress(OSError):
                    (other / "models" / "checkpoints" / name).unlink()
    return base


def make_base(folder: Path) -> Path:
    """Make `folder` a base folder that holds this pack, and return it; what is in it already stays."""
    for part in ("custom_nodes", "models/checkpoints", "input", "output", "user", "logs"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for picture in (PACK / "demo" / "pictures").glob("*.png"):
        if not (folder / "input" / picture.name).exists():
            shutil.copyfile(picture, folder / "input" / picture.name)
    link_pack(folder / "custom_nodes")
    return folder


def link_pack(custom_nodes: Path) -> None:
    """Link this checkout into a ComfyUI's folder of custom nodes, if it is not there.

    Raises `Explained` if the name is taken by something else.
    """
    link = custom_nodes / PACK_NAME
    if link.exists() and link.samefile(PACK):
        return
    if os.path.lexists(link):
        if link.exists():
            raise Explained(f"{link} is another copy of this pack (or something else of that name). Run the command "
                            "from that copy, or move it away.")
        link.unlink()
    if os.name == "nt":
        # Unlike a symbolic link, a junction needs no administrator.
        subprocess.run(["cmd", "/c", "mklink", "/J", str(link), str(PACK)], check=True, capture_output=True)
    else:
        link.symlink_to(PACK, target_is_directory=True)


def demo_checkpoint(environment: environments.Environment, base: Path, log: Log) -> Path:
    """Assemble the demo checkpoints into `base` where they are missing or older than what they are made of.

    Returns the path of the U-Net's; the transformer's lies beside it.
    """
    for name in ASSEMBLED:
        assemble(name, environment, base, log)
    return base / "models" / "checkpoints" / DEMO_CHECKPOINT


def assemble(name: str, environment: environments.Environment, base: Path, log: Log) -> None:
    options, parts = ASSEMBLED[name]
    sources = [PACK / "demo" / part for part in parts]
    target = make_base(base) / "models" / "checkpoints" / name
    for source in sources:
        if not source.is_file():
            raise Explained(f"{source} is missing, so the demo checkpoints cannot be made. Is this a complete checkout?")
    if target.is_file() and target.stat().st_mtime >= max(source.stat().st_mtime for source in sources):
        return
    log("Assembling the demo transformer." if options else "Assembling the demo checkpoint.")
    made = subprocess.run([str(environment.python), str(sources[0]), str(target), *options], capture_output=True, text=True,
                          errors="replace", env=environments.child_variables(), stdin=subprocess.DEVNULL)
    if made.returncode:
        raise Explained(f"{name} could not be assembled:\n{made.stderr.strip()[-1500:]}")


def add_checkpoint(base: Path, file: Path) -> str:
    """Make a checkpoint file loadable from `base`, without copying it where links work; return its name there."""
    target = make_base(base) / "models" / "checkpoints" / file.name
    if target.name in ASSEMBLED and target.is_file() and not target.is_symlink():
        # What is assembled here is not given up for a user's file of the same name.
        target = target.with_name(f"own_{file.name}")
    if target.exists() and target.samefile(file):
        return target.name
    if os.path.lexists(target):
        target.unlink()
    for place in (target.symlink_to, target.hardlink_to):
        with contextlib.suppress(OSError):
            place(file)
            return target.name
    shutil.copyfile(file, target)
    return target.name
