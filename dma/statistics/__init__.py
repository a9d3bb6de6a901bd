"""Blocks of large tensors, differences, unit lengths, streamed moments, effective counts, intervals, standard errors,
and scores beside those of references."""
from ._blocks import blocks, finite_rows, rows_in_double
from ._cautions import OTHERWISE, among_references, cautions, listed
from ._different import check_different
from ._effective_count import effective_count, effective_count_of_sums
from ._intervals import bootstrap_interval, jackknife_error, leave_one_out, student_quantile, wilson_interval
from ._moment_tree import BLOCK, Moments, MomentTree
from ._moments import LOOK_AFTER, RunningMoments
from ._named_trees import pack_trees, unpack_trees
from ._paired_moments import PairedMoments
from ._paired_shares import Change, change_of_share
from ._pairs import mean_product, mean_similarity, pair_products
from ._ranks import auroc
from ._references import Calibrated, against_references, fewest_references
from ._row_digests import row_digests
from ._shards import Shard, load_shard, merge_shards, save_shard, settings_key
from ._unit_length import unit_length

__all__ = [
    "BLOCK", "LOOK_AFTER", "OTHERWISE", "Calibrated", "Change", "MomentTree", "Moments", "PairedMoments",
    "RunningMoments", "Shard", "against_references", "among_references", "auroc", "blocks", "bootstrap_interval",
    "cautions", "change_of_share", "check_different", "effective_count", "effective_count_of_sums", "fewest_references",
    "finite_rows", "jackknife_error", "leave_one_out", "listed", "load_shard", "mean_product", "mean_similarity",
    "merge_shards", "pack_trees", "pair_products", "row_digests", "rows_in_double", "save_shard", "settings_key",
    "student_quantile", "unit_length", "unpack_trees", "wilson_interval",
]
