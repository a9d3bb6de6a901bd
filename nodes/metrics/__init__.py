"""Nodes that measure samples."""
from ._compare_sets import CompareSets
from ._hallucination_flag import HallucinationFlag
from ._plain_samples import drawn
from ._record_predictions import RecordPredictions
from ._sameness_meter import SamenessMeter
from ._save_table import SaveTable
from ._score_pictures import ScorePictures

__all__ = ["CompareSets", "HallucinationFlag", "RecordPredictions", "SamenessMeter", "SaveTable", "ScorePictures",
           "drawn"]
