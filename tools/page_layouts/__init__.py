"""How the example workflows lie on ComfyUI's page: their notes, and where their nodes stand (see page_workflow.py)."""
from .averages import LAYOUTS as AVERAGES
from .measures import LAYOUTS as MEASURES
from .modes import LAYOUTS as MODES
from .pictures import LAYOUTS as PICTURES

LAYOUTS = dict(sorted({**AVERAGES, **PICTURES, **MODES, **MEASURES}.items()))

__all__ = ["LAYOUTS"]
