"""What ComfyUI's executor knows of the node that runs."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import nodes
from comfy_execution.graph_utils import is_link
from comfy_execution.utils import get_executing_context


def number_of_call() -> int:
    """Which of several runs of a node this is, where a list is connected to it."""
    context = get_executing_context()
    return (context.list_index or 0) if context else 0


def comes_as_list(prompt: Any, link: Any) -> bool:
    """Whether what a link of a DynamicPrompt leads to is a list, for each of which a node runs: an output that is one,
    or what is made of one on the way."""
    pending, seen = [link], set()
    while pending:
        link = pending.pop()
        if not is_link(link) or tuple(link) in seen or not prompt.has_node(link[0]):
            continue
        seen.add(tuple(link))
        node = prompt.get_node(link[0])
        kind = nodes.NODE_CLASS_MAPPINGS.get(node["class_type"])
        declared = getattr(kind, "OUTPUT_IS_LIST", None) or ()
        if link[1] < len(declared) and declared[link[1]]:
            return True
        if not getattr(kind, "INPUT_IS_LIST", False):
            pending += node["inputs"].values()
    return False


def check_no_lists(prompt: Any, links: Mapping[str, Any], names: tuple[str, ...], node: str) -> None:
    """Raise ValueError in the second run of a node that unfolds where one of these inputs comes as a list: the nodes
    that it unfolds into hang on the links, and each would run for all of the list."""
    if not number_of_call():
        return
    given = [name for name in names if comes_as_list(prompt, links.get(name))]
    if given:
        raise ValueError(f"{node} takes one of {', '.join(given)}, but a list is connected: connect one of its values, "
                         f"and use another {node} for each of the others.")
