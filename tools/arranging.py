"""Where the nodes of a workflow stand on ComfyUI's page: how high they are, and columns of frames that hold them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from layout import NOTE, Group, Layout

TITLE, SLOT, PREVIEW, FOLDED_WIDTH = 30, 20, 236, 230
# The classic page shows advanced widgets too, and a row for what to do with a seed after a run.
CLASSIC = {"row": 24, "text": 54, "widgets": 14, "none": 6}
# The page of Vue nodes keeps advanced widgets behind a button, and says below a node which pack it is of.
VUE = {"row": 28, "line": 36, "text": 68, "widgets": 14, "button": 24, "badge": 24}
LONGER_TEXT = 46  # what a text that is typed gets over the least height
# The newest page draws a badge with the pack's name above a classic node, 20 units high: it needs a gap between nodes,
# and room below the title of a frame.
GAP, ROW_GAP, PADDING, GROUP_GAP, GROUP_HEADING = 20, 20, 16, 24, 52
WIDEST, HIGHEST = 2470, 1395  # what opens at 57 % of 1920 x 1080, below which the page draws no text
PLUMBING = ("VAEDecode", "VAEEncode")


def body_height(sockets: int, outputs: int, widgets: Iterable[dict[str, Any]], *, badge: bool = False,
                button: bool = False, growing: bool = False, changing: bool = False) -> int:
    """The least height of a node below its title, in classic nodes or in Vue nodes, whichever are higher.

    `widgets` holds one entry for each: its `type`, and whether it is `multiline`, `advanced` or has a `control`.
    Vue nodes have a `badge` if they are of a pack, experimental or deprecated, and a `button` if their file is missing.
    Sockets that are `growing` take two rows more in classic nodes, and a choice that brings widgets, which makes a node
    `changing`, takes one: so the newest page gives them back as it opens, older ones less.
    """
    widgets = list(widgets)
    slots = SLOT * max(sockets, outputs)
    texts = [widget for widget in widgets if widget["multiline"]]
    rows = len(widgets) - len(texts) + sum(widget["control"] for widget in widgets)
    classic = (slots + 2 * SLOT * growing + CLASSIC["row"] * (rows + changing) + CLASSIC["text"] * len(texts)
               + CLASSIC["widgets" if widgets else "none"])
    shown = [widget for widget in widgets if not widget["advanced"]]
    vue = (slots + VUE["widgets"] + VUE["badge"] * badge + VUE["button"] * (button + (len(shown) < len(widgets)))
           + sum(VUE["text" if widget["multiline"] else "line" if widget["type"] == "STRING" else "row"]
                 for widget in shown))
    return max(classic, vue) + (LONGER_TEXT if texts else 0)


def arrange(nodes: dict[str, dict], layout: Layout) -> list[dict[str, Any]]:
    """Place the nodes in columns and frame them; returns the page's list of groups.

    Each node comes with `_height`, `_picture` (whether it shows one), `_text` (whether text is typed into it) and
    `_fixed` (whether its inputs change, so that the classic page gives it its least height anew as it opens), which are
    taken out.
    """
    for key, node in nodes.items():
        picture, text, fixed = (node.pop(name, False) for name in ("_picture", "_text", "_fixed"))
        folded = key in layout.folded or (node["type"] in PLUMBING and key not in layout.unfolded)
        shown = PREVIEW if picture and not folded else 0
        # A text that was given the place of a picture keeps it on the newest page, and the node grows below instead.
        node["_below"] = shown if text else 0
        extra = 0 if folded else max(layout.extra_heights.get(key, 0), shown - node["_below"])
        node["size"] = [layout.widths.get(key, layout.width), node.pop("_height", 0) + extra]
        node["_grows"] = (0 if fixed else 3 if key in layout.extra_heights or key == NOTE else 2 if picture
                          else int(text))
        if folded:
            node["flags"] = {"collapsed": True}
    stacks = [[_Frame(group, nodes) for group in stack] for stack in layout.groups]
    tallest = max(sum(frame.height for frame in stack) + GROUP_GAP * (len(stack) - 1) for stack in stacks)
    groups: list[dict[str, Any]] = []
    left = 0
    for stack in stacks:
        width, top = max(frame.width for frame in stack), 0
        spare = tallest - sum(frame.height for frame in stack) - GROUP_GAP * (len(stack) - 1)
        growing = [frame.grows for frame in stack]
        # A frame in which nothing can grow ends where its nodes end.
        for frame, share in zip(stack, _shared(spare, growing) if any(growing) else growing):
            height = frame.height + share
            frame.place(left, top, width, height)
            groups.append({"id": len(groups) + 1, "title": frame.group.title, "bounding": [left, top, width, height],
                           "color": frame.group.colour, "flags": {}})
            top += height + GROUP_GAP
        left += width + GROUP_GAP
    for node in nodes.values():
        del node["_grows"], node["_below"]
    return groups


class _Frame:
    """A group with its nodes: how wide and high it has to be at least, and where its nodes go in what it gets."""

    def __init__(self, group: Group, nodes: dict[str, dict]) -> None:
        self.group = group
        self.columns = [[nodes[key] for key in column] for column in group.columns]
        self.widths = [max(FOLDED_WIDTH if _folded(node) else node["size"][0] for node in column)
                       for column in self.columns]
        self.width = sum(self.widths) + GAP * (len(self.widths) - 1) + 2 * PADDING
        self.height = GROUP_HEADING + PADDING + max(map(_length, self.columns))
        # A frame grows where all of its columns can.
        self.grows = min(max(0 if _folded(node) else node["_grows"] for node in column) for column in self.columns)

    def place(self, left: float, top: float, width: float, height: float) -> None:
        across = left + PADDING
        wider = _shared(width - self.width, self.widths)
        for column, own, more in zip(self.columns, self.widths, wider):
            most = max((0 if _folded(node) else node["_grows"] for node in column), default=0)
            growing = [most > 0 and not _folded(node) and node["_grows"] == most for node in column]
            spare = height - GROUP_HEADING - PADDING - _length(column)
            down = top + GROUP_HEADING
            for node, longer in zip(column, _shared(spare, [int(grows) for grows in growing]) if any(growing)
                                    else [0] * len(column)):
                node["pos"] = [across, down + TITLE]
                node["size"] = [own + more, node["size"][1] + longer]
                down += ROW_GAP + _room(node)
            across += own + more + GAP


def _folded(node: dict[str, Any]) -> bool:
    return bool(node["flags"].get("collapsed"))


def _length(column: list[dict[str, Any]]) -> int:
    return sum(map(_room, column)) + ROW_GAP * (len(column) - 1)


def _room(node: dict[str, Any]) -> int:
    return TITLE + (0 if _folded(node) else node["size"][1] + node["_below"])


def _shared(amount: int, weights: list[int]) -> list[int]:
    """Split a whole number in proportion to weights; equally where all are 0."""
    weights = weights if any(weights) else [1] * len(weights)
    ends = [amount * sum(weights[:count]) // sum(weights) for count in range(len(weights) + 1)]
    return [end - start for start, end in zip(ends, ends[1:])]
