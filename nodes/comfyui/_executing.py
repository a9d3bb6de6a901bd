"""What ComfyUI's executor knows of the node that runs."""
from __future__ import annotations

from comfy_execution.utils import get_executing_context


def number_of_call() -> int:
    """Which of several runs of a node this is, where a list is connected to it."""
    context = get_executing_context()
    return (context.list_index or 0) if context else 0
