"""Inversion: from a clean latent to the noise it comes from, and back."""
from ._bdia import Bdia
from ._ddim import Ddim
from ._dpm_encoder import DpmEncoder
from ._fixed_point import FixedPoint, at_floor, unsolved
from ._invert import Inversion, check_clean, invert
from ._method import Method, WayBack
from ._midpoint import FireFlow, Midpoint
from ._monitor import InversionMonitor
from ._norms import nominal_norms
from ._null_text import NullText, optimise_null_text, pivot_loss
from ._report import InversionReport, InvertedStep, RoundTrip, round_trip_error
from ._rf_inversion import RFInversion
from ._trajectory import Trajectory, companions_of
from ._velocity import Velocity
from ._way_back import sample_back, way_back

__all__ = [
    "Bdia", "Ddim", "DpmEncoder", "FireFlow", "FixedPoint", "Inversion", "InversionMonitor", "InversionReport",
    "InvertedStep", "Method", "Midpoint", "NullText", "RFInversion", "RoundTrip", "Trajectory", "Velocity", "WayBack",
    "at_floor", "check_clean", "companions_of", "invert", "nominal_norms", "optimise_null_text", "pivot_loss",
    "round_trip_error", "sample_back", "unsolved", "way_back",
]
