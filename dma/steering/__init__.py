"""Samples moved on purpose: away from the typical or towards it, between two averages, and along directions in the
features of a network."""
from ._direction import FEWEST_PICTURES, SCALES, Direction, LayerDirection, direction_from
from ._typicality import direction_between, pushed_along, pushed_from

__all__ = [
    "FEWEST_PICTURES", "SCALES", "Direction", "LayerDirection", "direction_between", "direction_from", "pushed_along",
    "pushed_from",
]
