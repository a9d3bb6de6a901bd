"""Nodes that measure samples."""
from ._sameness_meter import SamenessMeter

__all__ = ["SamenessMeter"]
