"""HSpaceHook, CaptureHSpace and SemanticLayerProbe."""
from ._capture_hspace import CaptureHSpace
from ._hspace_hook import LAYERS, HSpaceHook
from ._semantic_layer_probe import SemanticLayerProbe, chosen_layers

__all__ = ["LAYERS", "CaptureHSpace", "HSpaceHook", "SemanticLayerProbe", "chosen_layers"]
