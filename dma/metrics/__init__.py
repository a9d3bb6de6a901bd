"""How far two sets of pictures are apart, by their features, how alike those of one set are, what pictures are worth,
and how much they still moved at the end of their sampling."""
from ._clip_discrepancy import clip_discrepancy
from ._compare_sets import (
    compare_features,
    compare_looks,
    diversity,
    prompt_measure,
    round_trip_measures,
)
from ._concept_cell import FEWEST_TO_RANK, ConceptCell, doubts
from ._concept_sheet import NO_ANSWER, answers_of, concept_table, subject_of
from ._consistency import EnsembleSums, consistency, consistency_between, consistency_within, pairwise_distance
from ._copies import COPY, nearest_distances, same_pixels
from ._drift import drift, spread
from ._ensembles import check_ensembles
from ._estimate import Estimate, mean_estimate, ratio_of_means
from ._feature_moments import FeatureMoments, GroupedMoments, moments_of
from ._frechet import frechet_distance, frechet_estimate, frechet_of_moments
from ._hallucination import FEWEST_STEPS, trailing_variance
from ._hallucination_report import HallucinationReport, hallucination_report
from ._joined_tables import differences, joined
from ._kernel import SUBSETS, SubsetDistances, kernel_distance, kernel_estimate, kernel_subsets
from ._looks import brightness, sharpness
from ._measure_table import Measure, MeasureTable
from ._measured_by import REFERENCE, is_beside_a_reference
from ._picture_scores import BESIDE_OTHERS, ranked, score_table
from ._pictures import check_range
from ._pictures_key import pictures_key
from ._prompt_similarity import prompt_similarity, typicality
from ._reconstruction import latent_error, picture_psnr
from ._report import PromptSameness, SamenessReport
from ._representativeness import (
    distance_to_mean,
    distance_to_mean_of_moments,
    representativeness,
    representativeness_of_moments,
)
from ._same_rows import own_pictures, same_rows
from ._sameness import FEWEST_SAMPLES, Sameness, sameness
from ._unit import unit_rows

__all__ = [
    "BESIDE_OTHERS", "COPY", "FEWEST_SAMPLES", "FEWEST_STEPS", "FEWEST_TO_RANK", "NO_ANSWER", "REFERENCE", "SUBSETS",
    "ConceptCell", "EnsembleSums", "Estimate", "FeatureMoments", "GroupedMoments", "HallucinationReport", "Measure",
    "MeasureTable", "PromptSameness", "Sameness", "SamenessReport", "SubsetDistances", "answers_of", "brightness",
    "check_ensembles", "check_range", "clip_discrepancy", "compare_features", "compare_looks", "concept_table",
    "consistency", "consistency_between", "consistency_within", "differences", "distance_to_mean",
    "distance_to_mean_of_moments", "diversity", "doubts", "drift", "frechet_distance", "frechet_estimate",
    "frechet_of_moments", "hallucination_report", "is_beside_a_reference", "joined", "kernel_distance",
    "kernel_estimate", "kernel_subsets", "latent_error", "mean_estimate", "moments_of", "nearest_distances",
    "own_pictures", "pairwise_distance", "picture_psnr", "pictures_key", "prompt_measure", "prompt_similarity",
    "ranked", "ratio_of_means", "representativeness", "representativeness_of_moments", "round_trip_measures",
    "same_pixels", "same_rows", "sameness", "score_table", "sharpness", "spread", "subject_of", "trailing_variance",
    "typicality", "unit_rows",
]
