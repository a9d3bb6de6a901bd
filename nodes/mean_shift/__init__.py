"""Nodes of the average by mean shift, and of the tree of modes by it."""
from ._mental_average import MentalAverage
from ._mode_tree import ModeTree

__all__ = ["MentalAverage", "ModeTree"]
