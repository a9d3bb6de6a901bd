"""What a layout of a workflow on ComfyUI's page says; page_layouts/ holds one for every example workflow."""

from __future__ import annotations

from dataclasses import dataclass, field

NOTE = "note"
PREVIEW = 240
MODEL, WORK, OTHER, PICTURES, REPORTS = "#3f789e", "#8a6d3b", "#88557a", "#4a7a4a", "#5f6b7a"  # colours of groups


@dataclass(frozen=True)
class Group:
    """A coloured frame with columns of nodes, left to right; a column lists node ids from top to bottom."""

    title: str
    colour: str
    columns: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Layout:
    """How a workflow lies on the page: its note, its groups (columns of them, left to right), and what is wider or
    taller than usual."""

    note: str
    groups: tuple[tuple[Group, ...], ...]
    widths: dict[str, int] = field(default_factory=dict)
    extra_heights: dict[str, int] = field(default_factory=dict)
    width: int = 320
