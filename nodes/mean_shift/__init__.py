"""Nodes of the average by mean shift."""
from ._mental_average import MentalAverage

__all__ = ["MentalAverage"]
