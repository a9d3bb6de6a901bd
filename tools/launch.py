"""How a ComfyUI server is started: its arguments, its port, and whether there is anything but the CPU."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from environment import Environment
from installing import child_variables
from workspace import PACK_NAME, holds_others, link_pack, make_base

HOST = "127.0.0.1"
DECODERS, FACTORS = "taesd", "latent2rgb"  # ComfyUI's ways to preview a latent; decoders fall back on factors


def arguments(environment: Environment, base: Path) -> list[str]:
    """The arguments of a server that works in `base`, which is made ready for it.

    A ComfyUI of the user's own keeps its folders: the pack is linked into its custom nodes, and the checkpoints
    and image encoders of `base` are added to those it has. Its previews are told from a latent by fixed factors, which
    are Stable Diffusion's, so that those of the demo models have other colours; so are those of a base with any other
    checkpoint than these. Elsewhere they have decoders, which are theirs alone.
    """
    make_base(base)
    # One server at a time may open a database file; nothing here needs it to last.
    chosen = ["--disable-auto-launch", "--database-url", "sqlite:///:memory:",
              "--preview-method", FACTORS if environment.own or holds_others(base) else DECODERS]
    if environment.own:
        link_pack(environment.comfyui / "custom_nodes")
        models = base / "models.yaml"
        # JSON is YAML too, and quotes paths safely.
        folders = {"mental_averages": {kind: str(base / "models" / kind) for kind in ("checkpoints", "image_encoders")}}
        models.write_text(json.dumps(folders), encoding="utf-8")
        # A starting ComfyUI empties its folder of temporary files, which another one may be using.
        chosen += ["--extra-model-paths-config", str(models), "--temp-directory", str(base)]
    else:
        chosen += ["--base-directory", str(base), "--disable-all-custom-nodes", "--whitelist-custom-nodes", PACK_NAME,
                   "--disable-api-nodes"]
    return chosen + (["--cpu"] if _needs_cpu(environment) else [])


def free_port() -> int:
    """A port that no program on this machine uses now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def is_free(port: int) -> bool:
    """Whether a server could use `port` now."""
    with socket.socket() as probe:
        if os.name != "nt":
            # A port whose last connections are still being closed is free to a server, so it is here.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError):
            return False
    return True


def _needs_cpu(environment: Environment) -> bool:
    if not environment.own and sys.platform != "darwin":
        # The pinned torch knows CUDA only. Without its driver, importing torch to ask is seconds for nothing.
        try:
            ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
        except OSError:
            return True
    script = ("import torch; print(not (torch.cuda.is_available() or torch.backends.mps.is_available() "
              "or (hasattr(torch, 'xpu') and torch.xpu.is_available())))")
    asked = subprocess.run([str(environment.python), "-c", script], capture_output=True, text=True,
                           env=child_variables(), cwd=environment.comfyui)
    return asked.stdout.strip() == "True"
