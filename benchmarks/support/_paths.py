"""Where the repository is, and what makes its scripts and the node pack importable.

The root itself must never be on `sys.path`: this pack's package `nodes` and ComfyUI's module of that name would hide
each other. The pack is called `mental_averages`, as in a ComfyUI.
"""
from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
for _folder in ("tools", "demo"):
    if str(ROOT / _folder) not in sys.path:
        sys.path.insert(0, str(ROOT / _folder))
import pack  # noqa: E402

pack.load_pack()
