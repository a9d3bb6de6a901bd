"""What a layout of a workflow on ComfyUI's page says; page_layouts/ holds one for every example workflow."""

from __future__ import annotations

from dataclasses import dataclass, field

NOTE = "note"
MODEL, WORK, OTHER, PICTURES, REPORTS = "#3f789e", "#8a6d3b", "#88557a", "#4a7a4a", "#5f6b7a"  # colours of groups


@dataclass(frozen=True)
class Group:
    """A coloured frame with columns of nodes, left to right; a column lists node ids from top to bottom."""

    title: str
    colour: str
    columns: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Layout:
    """How a workflow lies on the page: its note and its groups, in columns of the page from left to right.

    What is said here is the least: frames of one column of the page become equally wide, and the columns of the page
    equally long. Room that is left goes to the nodes of `extra_heights`, to the note and to text that is typed.

    Attributes:
        note: Markdown of the note.
        groups: columns of the page, each a stack of groups.
        widths: the least widths of nodes that are wider than `width`.
        extra_heights: what nodes are higher by than what they hold: room for large pictures and long text. Nodes that
            show a picture have the room of a small one without being named.
        folded: nodes that are folded to their titles, beside all that encode or decode latents. The page opens with
            room for them unfolded, so large ones do not stand at the bottom.
        width: the width of all other nodes.
    """

    note: str
    groups: tuple[tuple[Group, ...], ...]
    widths: dict[str, int] = field(default_factory=dict)
    extra_heights: dict[str, int] = field(default_factory=dict)
    folded: frozenset[str] = frozenset()
    unfolded: frozenset[str] = frozenset()
    width: int = 270
