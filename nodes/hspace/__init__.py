"""HSpaceHook, CaptureHSpace and SemanticLayerProbe."""
from ._capture_hspace import CaptureHSpace
from ._hspace_hook import HSpaceHook
from ._semantic_layer_probe import SemanticLayerProbe

__all__ = ["CaptureHSpace", "HSpaceHook", "SemanticLayerProbe"]
