"""Samples moved on purpose: away from the typical or towards it, and between two averages."""
from ._typicality import direction_between, pushed_along, pushed_from

__all__ = ["direction_between", "pushed_along", "pushed_from"]
