"""The folder that a ComfyUI server works in: this pack, the checkpoints, and what it writes.

A base folder holds `custom_nodes/mental-averages` (a link to this checkout), `models/checkpoints`,
`models/image_encoders`, `models/vae_approx`, `input`, `output` and `user`. Each checkout of the pack has one of its own
in the user's cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import environment as environments
from console import Explained, Log
from installing import child_variables

PACK = Path(__file__).resolve().parents[1]
PACK_NAME = "mental-averages"
DEMO_CHECKPOINT = "mental_averages_demo.safetensors"
TRANSFORMER_CHECKPOINT = "mental_averages_demo_transformer.safetensors"
DEMO_ENCODER = "demo_clip"
MODEL_FOLDERS = ("checkpoints", "diffusion_models", "unet")
MODEL_SUFFIXES = {".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf"}
# By these names ComfyUI finds the decoders of its TAESD previews for Stable Diffusion 1.5 and 3.
PREVIEWS, TRANSFORMER_PREVIEWS = "taesd_decoder.safetensors", "taesd3_decoder.safetensors"


@dataclass(frozen=True)
class Recipe:
    """What a script of demo/ makes under models/: `script OUTPUT options`, out of other files of demo/.

    shared_name: whether files that are the user's have this name, too, since ComfyUI looks for it.
    """

    what: str
    folder: str
    script: str
    sources: tuple[str, ...]
    options: tuple[str, ...] = ()
    shared_name: bool = False


UNET_SOURCES = ("weights.py", "weights.safetensors", "text_table.py")
ASSEMBLED = {
    DEMO_CHECKPOINT: Recipe("demo checkpoint", "checkpoints", "assemble.py", UNET_SOURCES),
    TRANSFORMER_CHECKPOINT: Recipe("demo transformer", "checkpoints", "assemble.py",
                                   (*UNET_SOURCES, "transformer.py", "transformer_weights.safetensors"),
                                   ("--transformer",)),
    DEMO_ENCODER: Recipe("demo image encoder", "image_encoders", "clip_model.py",
                         ("weights.py", "clip_weights.safetensors")),
    PREVIEWS: Recipe("decoder of the demo model's previews", "vae_approx", "assemble.py", UNET_SOURCES,
                     ("--previews",), shared_name=True),
    TRANSFORMER_PREVIEWS: Recipe("decoder of the demo transformer's previews", "vae_approx", "assemble.py",
                                 (*UNET_SOURCES, "transformer.py"), ("--transformer", "--previews"),
                                 shared_name=True),
}

# Decoders of the first demo weights, assembled before a record was kept: files of the pack's, not a user's.
UNRECORDED = frozenset({"839e58a4e3ba0bc50c699b6d795e7f60a262ba1876457e7f08de4fffb11f726a",
                        "7dfd7bca7e6ab0c0955987fea681107d46fb64a509c7535190e8933809f78064"})


def default_base() -> Path:
    """This checkout's base folder, made if it is not there."""
    workspaces = environments.home() / "workspaces"
    base = make_base(workspaces / hashlib.sha256(str(PACK).encode()).hexdigest()[:12])
    for other in workspaces.iterdir():
        if not (other / "custom_nodes" / PACK_NAME).exists():
            # Its checkout is gone. Only what can be made again is removed: its pictures may be wanted.
            for name in (DEMO_CHECKPOINT, TRANSFORMER_CHECKPOINT):
                with contextlib.suppress(OSError):
                    (other / "models" / "checkpoints" / name).unlink()
    return base


def make_base(folder: Path) -> Path:
    """Make `folder` a base folder that holds this pack, and return it; what is in it already stays."""
    models = sorted({f"models/{recipe.folder}" for recipe in ASSEMBLED.values()})
    for part in ("custom_nodes", *models, "input", "output", "user", "logs"):
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
    """Make the demo models in `base` where they are missing or older than what they are made of.

    Returns the path of the U-Net's checkpoint; the transformer's lies beside it, the image encoder is a folder.
    """
    for name in ASSEMBLED:
        assemble(name, environment, base, log)
    return base / "models" / "checkpoints" / DEMO_CHECKPOINT


def holds_others(base: Path) -> bool:
    """Whether there is a model in `base` that is none of the demo models."""
    return any(file.suffix in MODEL_SUFFIXES and file.name not in ASSEMBLED
               for folder in MODEL_FOLDERS for place, _, names in os.walk(base / "models" / folder, followlinks=True)
               for file in map(Path(place).joinpath, names) if file.is_file())


def assemble(name: str, environment: environments.Environment, base: Path, log: Log) -> None:
    """Make what has this name in `base` where it is missing or older than what it is made of. A file of the user's that
    ComfyUI would take for it stays."""
    recipe = ASSEMBLED[name]
    sources = [PACK / "demo" / part for part in (recipe.script, *recipe.sources)]
    target = make_base(base) / "models" / recipe.folder / name
    for source in sources:
        if not source.is_file():
            raise Explained(f"{source} is missing, so the {recipe.what} cannot be made. Is this a complete checkout?")
    if target.exists() and target.stat().st_mtime >= max(source.stat().st_mtime for source in sources):
        return
    others = [file for file in sorted(target.parent.glob(f"{target.stem}*"))
              if recipe.shared_name and not _was_assembled(file)]
    if others:
        log(f"{others[0]} is not known to have been assembled here, and stays. Move it away to have the {recipe.what} "
            "in its place.")
        return
    log(f"Assembling the {recipe.what}.")
    # Put in its place only when it is complete: also a folder, which takes several files.
    with tempfile.TemporaryDirectory(dir=base / "models", prefix="assembling-") as place:
        new = Path(place) / name
        made = subprocess.run([str(environment.python), str(sources[0]), str(new), *recipe.options],
                              capture_output=True, text=True, errors="replace", env=child_variables(),
                              stdin=subprocess.DEVNULL)
        if made.returncode:
            raise Explained(f"The {recipe.what} could not be assembled:\n{made.stderr.strip()[-1500:]}")
        if target.is_dir():
            shutil.rmtree(target)
        shutil.move(new, target)
    if recipe.shared_name:
        _keep_digest(target)


def _was_assembled(file: Path) -> bool:
    """Whether a file under models/ is as it was when it was assembled there."""
    if not file.is_file():
        return False
    digest = _digest(file)
    return digest in UNRECORDED or digest == _digests(file).get(file.name)


def _keep_digest(file: Path) -> None:
    _digest_file(file).write_text(json.dumps({**_digests(file), file.name: _digest(file)}), encoding="utf-8")


def _digests(file: Path) -> dict[str, str]:
    """The digests of what was assembled, by its name; none where that is not known any more."""
    try:
        found = json.loads(_digest_file(file).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _digest_file(file: Path) -> Path:
    return file.parents[1] / "assembled.json"


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


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
