"""The semantic space: captured features, and which layer's features stand for meaning."""
from ._features import Features, load_features, save_features
from ._probe import ALGORITHM, Probe, ProbeMonitor, ProbeSettings, ProbeState, probe_report, read_prompt
from ._report import LayerReport, LayerScore, layer_report
from ._scores import (
    FEWEST_LATENTS,
    FEWEST_PROMPTS,
    LayerMatching,
    aligned_separation,
    choose_layer,
    gram,
    participation_ratio,
    spread,
)
from ._sketch import Sketch

__all__ = [
    "ALGORITHM", "FEWEST_LATENTS", "FEWEST_PROMPTS", "Features", "LayerMatching", "LayerReport", "LayerScore", "Probe",
    "ProbeMonitor", "ProbeSettings", "ProbeState", "Sketch", "aligned_separation", "choose_layer", "gram",
    "layer_report", "load_features", "participation_ratio", "probe_report", "read_prompt", "save_features", "spread",
]
