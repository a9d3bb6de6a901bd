"""Nodes that move samples on purpose."""
from ._typicality_guidance import TypicalityGuidance

__all__ = ["TypicalityGuidance"]
