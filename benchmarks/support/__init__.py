"""What benchmarks share: demo model, models of full size, recipes, a judge, labels, clocks, command line, output.

The folder above is on the import path (`tools/run_benchmark.py` sees to it). Importing this makes the scripts of
tools/ and demo/ importable, and the pack as `mental_averages`.
"""
from ._paths import ROOT  # isort: skip  the others need the import path that it sets
from ._command_line import ICONS, check_least, fill_in, parse_arguments, processes
from ._demo_model import GUIDANCE, SCHEDULER, STEPS, DemoModel, demo_and_judge, on_model
from ._encoder import load_encoder
from ._intervals import interval, with_interval
from ._judge import FeatureSpace, Worth, worth
from ._labels import (
    ATTRIBUTES,
    DIMENSIONS,
    LARGEST_COUNT,
    PER_LABEL,
    Attribute,
    agreement,
    as_pictures,
    labelled_pictures,
    labels_of,
)
from ._looks import LOOKS, STYLE, TONE, look_teller
from ._memory import PeakMemory
from ._naive_runs import NAIVE_COUNT, NaiveRun, demo_weights, naive_path, naive_runs
from ._output import print_each, print_table, save_sheet, write_figures
from ._random_models import ARCHITECTURES, RandomModel, random_model, random_prompt
from ._recipes import plain_samples, preset_settings, shifted_average
from ._recognition import Recogniser, choose_concepts, features_by_concept
from ._tasks import results_of
from ._timing import median_seconds, timed, wait_for_gpu, with_gradient

from mental_averages.dma.metrics import brightness, pairwise_distance, picture_psnr, sharpness  # isort: skip

__all__ = [
    "ARCHITECTURES", "ATTRIBUTES", "DIMENSIONS", "GUIDANCE", "ICONS", "LARGEST_COUNT", "LOOKS", "NAIVE_COUNT",
    "PER_LABEL", "ROOT", "SCHEDULER", "STEPS", "STYLE", "TONE", "Attribute", "DemoModel", "FeatureSpace",
    "NaiveRun", "PeakMemory", "RandomModel", "Recogniser", "Worth", "agreement", "as_pictures", "brightness",
    "check_least", "choose_concepts", "demo_and_judge", "demo_weights", "features_by_concept", "fill_in",
    "interval", "labelled_pictures", "labels_of", "load_encoder", "look_teller", "median_seconds", "naive_path",
    "naive_runs", "on_model", "pairwise_distance", "parse_arguments", "picture_psnr", "plain_samples",
    "preset_settings", "print_each", "print_table", "processes", "random_model", "random_prompt", "results_of",
    "save_sheet", "sharpness", "shifted_average", "timed", "wait_for_gpu", "with_gradient", "with_interval", "worth",
    "write_figures",
]
