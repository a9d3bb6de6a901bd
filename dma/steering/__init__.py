"""Samples moved on purpose: away from the typical or towards it, between two averages, and along directions in the
features of a network."""
from ._direction import FEWEST_PICTURES, SCALES, Direction, LayerDirection, direction_from
from ._leading import BY_LEAD, WEIGHTINGS, lead, mean_predictions, straightness, way_between, weighted_to_lead
from ._typicality import direction_between, pushed_along, pushed_from

__all__ = [
    "BY_LEAD", "FEWEST_PICTURES", "SCALES", "WEIGHTINGS", "Direction", "LayerDirection", "direction_between",
    "direction_from", "lead", "mean_predictions", "pushed_along", "pushed_from", "straightness", "way_between",
    "weighted_to_lead",
]
