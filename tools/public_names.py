"""Write down the public names of dma/ and of its rooms: python tools/public_names.py

A test compares them with the faces: run this in the change that adds, renames or removes a name, and say so in
CHANGELOG.md.
"""
from __future__ import annotations

import ast
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SNAPSHOT = ROOT / "tests" / "public_names.json"


def public_names() -> dict[str, list[str]]:
    """`__all__` of every face in dma/, by the name that it is imported by."""
    return {".".join(face.parent.relative_to(ROOT).parts): names_of(face)
            for face in sorted((ROOT / "dma").rglob("__init__.py"))}


def names_of(face: Path) -> list[str]:
    """`__all__` of a file, without importing it; empty if it has none."""
    for statement in ast.parse(face.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign) and [ast.unparse(target) for target in statement.targets] == ["__all__"]:
            return ast.literal_eval(statement.value)
    return []


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(public_names(), indent=1) + "\n", encoding="utf-8")
