"""Where the page's menu lists the nodes."""
from __future__ import annotations

# The menu shows the name itself where no translation of it is given, whatever its language.
PACK = "Diffusion Mental Averages"


def category(*below: str) -> str:
    """The entry of the pack in the menu, or one below it."""
    return "/".join([PACK, *below])
