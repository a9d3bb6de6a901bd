"""Nodes that move samples on purpose."""
from ._direction_from_pictures import DirectionFromPictures
from ._steer_representation import SteerRepresentation
from ._typicality_guidance import TypicalityGuidance

__all__ = ["DirectionFromPictures", "SteerRepresentation", "TypicalityGuidance"]
