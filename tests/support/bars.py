"""ComfyUI's progress bar as users see it: where it has been, and an interrupt while it moves."""
from __future__ import annotations

from typing import Any

import pytest


class Bar:
    """Notes in `shares` where the bars of nodes have been. `stop_at`: interrupt when so many places were shown."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        import comfy.model_management
        import comfy.utils

        self.shares: list[float] = []
        self.stop_at = 0
        update = comfy.utils.ProgressBar.update_absolute

        def noted(bar: Any, value: int, total: int, preview: Any = None) -> None:
            self.shares.append(value / total)
            if len(self.shares) == self.stop_at:
                comfy.model_management.interrupt_current_processing()
            update(bar, value, total, preview)

        monkeypatch.setattr(comfy.utils.ProgressBar, "update_absolute", noted)
