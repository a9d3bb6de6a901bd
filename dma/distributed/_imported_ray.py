"""Ray, which nothing here needs unless it is asked for."""
from __future__ import annotations

import importlib
from typing import Any


def imported_ray() -> Any:
    """The package Ray. Raises ImportError that says how it is installed."""
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise ImportError("Work on several processes, cards or machines needs Ray: install mental-averages[ray], or "
                          "ray itself.") from error
