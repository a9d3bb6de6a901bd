"""Nodes that measure samples."""
from ._compare_sets import CompareSets
from ._plain_samples import drawn
from ._sameness_meter import SamenessMeter
from ._save_table import SaveTable
from ._score_pictures import ScorePictures

__all__ = ["CompareSets", "SamenessMeter", "SaveTable", "ScorePictures", "drawn"]
