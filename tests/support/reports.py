"""A saved report of each kind, written by hand in the format of the first release: what users have on their disks."""
import json

from mental_averages.dma import (
    alignment,
    hspace,
    interpolation,
    inversion,
    mean_shift,
    metrics,
    representation,
    training,
)

ALIGNMENT = """{"format": "mental-averages/alignment-report", "version": 2,
"settings": {"count": 2, "aligned_steps": 2, "solver": {"name": "LBFGS", "iterations": 40}, "sigmas": [14.6, 7.0, 0.0]},
"initial_spread": 1.0,
"steps": [
 {"sigma": 14.6, "mean_error": 0.1, "residual_before": [0.5, 0.4], "residual_after": [0.01, 0.02], "iterations": [5, 6],
  "spread": 0.3, "norm": 0.9, "mean_count": 2, "forwards": [7, 8], "backwards": [6, 7]},
 {"sigma": 7.0, "mean_error": 0.05, "residual_before": [0.3, 0.2], "residual_after": [0.0, 0.01], "iterations": [3, 0],
  "spread": 0.2, "norm": 0.95, "mean_count": 2, "forwards": [4, 1], "backwards": [3, 0]}],
"seconds": 2.5}"""

# Version 1 did not count passes.
ALIGNMENT_1 = """{"format": "mental-averages/alignment-report", "version": 1, "settings": {"count": 2},
"initial_spread": 1.0,
"steps": [{"sigma": 14.6, "mean_error": 0.1, "residual_before": [0.5, 0.4], "residual_after": [0.01, 0.02],
  "iterations": [5, 6], "spread": 0.3, "norm": 0.9}],
"seconds": 2.5}"""

MIXTURE = """{"format": "mental-averages/mode-alignment-report", "version": 1,
"settings": {"count": 6, "level": 4, "mixture": {"smallest_count": 1, "largest_count": 3}},
"modes": [
 {"count": 4, "share": 0.6666666666666666, "effective_count": 3.9, "distances": [0.02, 0.7],
  "steps": [{"sigma": 3.5, "mean_error": 0.1, "residual_before": [0.5, 0.4], "residual_after": [0.01, 0.02],
    "iterations": [5, 6], "spread": 0.3, "norm": 0.9, "mean_count": 4, "forwards": [7, 8], "backwards": [6, 7]}],
  "seconds": 1.5},
 {"count": 2, "share": 0.3333333333333333, "effective_count": 2.0, "distances": [0.8, 0.03], "steps": [],
  "seconds": 0.5}],
"bic": [[1, 120.5], [2, 80.25], [3, 99.0]], "sampling_seconds": 1.0, "seconds": 3.0}"""

INVERSION = """{"format": "mental-averages/inversion-report", "version": 2,
"settings": {"method": "fixed_point", "sigmas": [0.0, 0.5, 3.0]},
"steps": [{"sigma": 0.5, "residual": [0.001, 0.002], "iterations": [3, 4], "norm": [0.4, 0.5],
  "code": []},
 {"sigma": 3.0, "residual": [0.0, 0.004], "iterations": [1, 0], "norm": [0.9, 1.1],
  "code": []}],
"round_trip": {"mse": [0.1, 0.2], "psnr": [20.0, 17.0], "relative": [0.01, 0.02]},
"calls": 4.5, "seconds": 1.25, "warnings": ["cfg is 7"]}"""

INTERPOLATION = """{"format": "mental-averages/interpolation-report", "version": 1,
"settings": {"method": "restored_variance", "mean_adjustment": "low_pass", "low_pass_width": 2.0, "shape": [2, 4, 4]},
"weights": [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]], "effective_inputs": [1.0, 2.0, 1.0],
"amplification": [1.0, 1.4, 1.0], "input_norms": [0.95, 1.05], "output_norms": [0.95, 1.0, 1.05],
"input_means": [[0.1, -0.1], [0.2, 0.0]], "output_means": [[0.1, -0.1], [0.15, -0.05], [0.2, 0.0]]}"""

LATENT_STATISTICS = """{"format": "mental-averages/latent-statistics", "version": 1,
"settings": {"count": 2, "shape": [2, 4, 4], "subsets": 16, "seed": 0}, "norms": [0.95, 1.05],
"channel_means": [0.15, -0.05], "standard_errors": [0.02, 0.03], "amplification": 1.3, "independent_inputs": 1.7,
"common_energy": 0.01, "counts": [1, 2], "centroid_means": [[0.15, -0.05], [0.2, -0.07]],
"centroid_deviations": [[0.05, 0.05], [0.0, 0.0]], "centroid_amplification": [1.0, 1.3],
"square_root_slopes": [0.14, -0.05], "square_root_fit": 0.97}"""

LAYERS = """{"format": "mental-averages/layer-report", "version": 1,
"settings": {"prompts": 4, "samples": 6, "sigmas": [14.6, 3.5], "matched": true, "iterations": 12},
"layers": [{"name": "a.0", "score": 0.8, "error": 0.05, "ratio": [2.5, 3.0], "dimension": [12.0, 9.0],
  "left": [0.2, 0.4]},
 {"name": "b.0", "score": 0.3, "error": 0.1, "ratio": [-0.1, 0.2], "dimension": [30.0, null], "left": [0.5, 0.6]},
 {"name": "c.0", "score": null, "error": null, "ratio": [null, null], "dimension": [null, null], "left": [0.9, 1.0]}],
"chosen": "a.0", "runner_up": "b.0", "margin": 0.5, "margin_error": 0.1, "seconds": 8.5}"""

SPARSITY = """{"format": "mental-averages/sparsity-report", "version": 1,
"settings": {"pictures": 30, "sigmas": [3.5, 0.0], "draws": 8, "seed": 0},
"blocks": [{"name": "a.0", "channels": 32, "participation": [0.4, 0.35], "error": [0.01, 0.02],
  "differences": [0.3, 0.25], "specialised": [0.05, 0.1]},
 {"name": "b.0", "channels": 64, "participation": [0.6, 0.5], "error": [0.01, 0.01], "differences": [0.5, 0.45],
  "specialised": [0.3, 0.25]},
 {"name": "c.0", "channels": 64, "participation": [0.2, null], "error": [0.03, null], "differences": [0.4, null],
  "specialised": [null, null]}],
"seconds": 8.5}"""

TRAINING = """{"format": "mental-averages/training-report", "version": 1,
"settings": {"node": "TrainModeLoRA", "steps": 4, "learning_rate": 0.0001}, "losses": [0.5, 0.25, 0.375, 0.125],
"seconds": 2.0}"""

MEAN_SHIFT = """{"format": "mental-averages/mean-shift-report", "version": 1,
"settings": {"count": 32, "averaged_steps": 2, "sigmas": [14.6, 8.1, 0.0]},
"levels": [{"sigma": 14.6, "count": 32, "mean_error": 0.04, "spread": 0.3, "moved": null},
 {"sigma": 8.1, "count": 16, "mean_error": 0.03, "spread": 0.25, "moved": 0.2}],
"seconds": 2.5}"""

SAMENESS = """{"format": "mental-averages/sameness-report", "version": 1,
"settings": {"count": 16, "source": "clip_vision", "steps": 20},
"prompts": [{"prompt": "a cat", "sameness": 0.81, "low": 0.78, "high": 0.84},
 {"prompt": "costs $5 and $6", "sameness": 0.52, "low": 0.41, "high": 0.63}],
"seconds": 9.5}"""
MODE_TREE = """{"format": "mental-averages/mode-tree", "version": 1,
"settings": {"steps": [4, 9], "count": 16, "iterations": 20, "seed": 0},
"levels": [{"step": 9, "sigma": 1.5, "iterations": 14, "error": 0.5, "still": true, "labels": [0, 1, 0, 2, 0],
  "modes": [{"count": 3, "share": 0.6, "low": 0.23, "high": 0.88, "parent": 0},
   {"count": 1, "share": 0.2, "low": 0.04, "high": 0.62, "parent": 1},
   {"count": 1, "share": 0.2, "low": 0.04, "high": 0.62, "parent": 0}]},
 {"step": 4, "sigma": 4.0, "iterations": 9, "error": 0.9, "still": false, "labels": [0, 1, 0, 0, 0],
  "modes": [{"count": 4, "share": 0.8, "low": 0.38, "high": 0.96, "parent": null},
   {"count": 1, "share": 0.2, "low": 0.04, "high": 0.62, "parent": null}]}],
"seconds": 12.5}"""

MEASURES = """{"format": "mental-averages/measure-table", "version": 1,
"settings": {"encoder": "clip_vision", "images": 8, "reference": 64},
"rows": [{"subject": "average", "name": "FID", "value": 12.5, "low": 11.0, "high": 14.0, "better": "lower", "count": 8,
  "note": "jackknife"},
 {"subject": "average", "name": "KID", "value": null, "low": null, "high": null, "better": "lower", "count": 1,
  "note": "takes two pictures"}]}"""

HALLUCINATION = """{"format": "mental-averages/hallucination-report", "version": 1,
"settings": {"last_steps": 5, "levels": [0.9, 0.6, 0.4, 0.2, 0.1], "false_positive_rate": 0.25}, "threshold": 0.3,
"scores": [0.1, 0.5], "percentiles": [33.3, 100.0], "flagged": [false, true], "references": [0.05, 0.2, 0.3]}"""

MEMORISATION = """{"format": "mental-averages/memorisation-report", "version": 1,
"settings": {"layers": ["output_blocks.0"], "sigmas": [0.05], "pooling": "maximum", "draws": 1, "seed": 0,
  "score": "deviation", "false_positive_rate": 0.25},
"scores": [{"name": "deviation", "threshold": 0.3, "scores": [0.1, 0.5], "percentiles": [33.3, 100.0],
   "flagged": [false, true], "references": [0.05, 0.2, 0.3]},
  {"name": "norm", "threshold": 9.0, "scores": [7.0, 8.0], "percentiles": [0.0, 33.3], "flagged": [false, false],
   "references": [7.5, 8.5, 9.0]}],
"seconds": 1.5}"""
RECONSTRUCTION = """{"format": "mental-averages/reconstruction-report", "version": 1,
"settings": {"count": 2, "channels": 0, "seed": 0, "layer": "a.0", "sigmas": [3.5, 0.5]},
"levels": [{"sigma": 3.5, "residual_before": [1.0, 0.5], "residual_after": [0.01, 0.005], "iterations": [9, 12],
  "forwards": [10, 13], "backwards": [9, 12], "spread": 0.5},
 {"sigma": 0.5, "residual_before": [0.25, 0.04], "residual_after": [0.0025, 0.0], "iterations": [7, 3],
  "forwards": [8, 4], "backwards": [7, 3], "spread": 0.75}],
"distances": [0.1, 0.2], "sources": [0.4, 0.5, 0.6], "seconds": 2.5}"""

KINDS = {
    "alignment": (alignment.AlignmentReport, ALIGNMENT), "mixture": (alignment.MixtureReport, MIXTURE),
    "inversion": (inversion.InversionReport, INVERSION),
    "interpolation": (interpolation.InterpolationReport, INTERPOLATION),
    "latent_statistics": (interpolation.LatentStatisticsReport, LATENT_STATISTICS),
    "layers": (hspace.LayerReport, LAYERS), "training": (training.TrainingReport, TRAINING),
    "mean_shift": (mean_shift.MeanShiftReport, MEAN_SHIFT), "sameness": (metrics.SamenessReport, SAMENESS),
    "mode_tree": (mean_shift.ModeTreeReport, MODE_TREE),
    "measures": (metrics.MeasureTable, MEASURES), "sparsity": (representation.SparsityReport, SPARSITY),
    "hallucination": (metrics.HallucinationReport, HALLUCINATION),
    "memorisation": (representation.MemorisationReport, MEMORISATION),
    "reconstruction": (representation.ReconstructionReport, RECONSTRUCTION),
}


def saved(kind, **changes):
    """The report of a kind, with other fields than those of its file."""
    report, text = KINDS[kind]
    return report.from_json(json.dumps({**json.loads(text), **changes}))


def changed(text, place=(), remove=(), **changes):
    """A JSON text with fields added, changed or removed in the object at `place`, a row of keys and indices."""
    data = found = json.loads(text)
    for key in place:
        found = found[key]
    found.update(changes)
    for name in remove:
        del found[name]
    return json.dumps(data)
