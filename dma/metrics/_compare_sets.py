"""All measures of a set of pictures beside a reference, as rows of a table."""
from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..statistics import RunningMoments, check_different
from ._clip_discrepancy import clip_discrepancy
from ._consistency import EnsembleSums, consistency, consistency_between, consistency_within
from ._estimate import Estimate, mean_estimate, ratio_of_means
from ._feature_moments import GroupedMoments
from ._frechet import frechet_estimate
from ._kernel import SUBSETS, kernel_estimate, kernel_subsets
from ._looks import brightness, sharpness
from ._measure_table import HIGHER, LOWER, Measure
from ._prompt_similarity import prompt_similarity
from ._reconstruction import latent_error, picture_psnr
from ._representativeness import distance_to_mean, representativeness, same_rows
from ._unit import unit_pair

STUDENT = "Student's interval"
JACKKNIFE = "jackknife over pictures"


def compare_looks(subject: str, pictures: Tensor, reference: Tensor) -> list[Measure]:
    """Sharpness and brightness of pictures (N, H, W, 3) relative to those of a reference.

    >>> [row.name for row in compare_looks("set", torch.rand(2, 4, 4, 3), torch.rand(3, 4, 4, 3))]
    ['sharpness', 'brightness']
    """
    rows = []
    size = "" if pictures.shape[1:3] == reference.shape[1:3] else ", of pictures of another size"
    for name, measure, better in (("sharpness", sharpness, HIGHER), ("brightness", brightness, "")):
        try:
            found = ratio_of_means(moments(measure(pictures)), moments(measure(reference)))
        except ValueError as error:
            rows.append(Measure(subject, name, None, better=better, count=len(pictures), note=str(error)))
        else:
            rows.append(Measure.of(subject, name, found, better=better, count=len(pictures),
                                   note=f"relative to the reference{size}; delta method"))
    return rows


def compare_features(subject: str, features: Tensor, reference: Tensor, *, ensemble_size: int = 1,
                     subset_size: int = 0, own: Tensor | None = None) -> list[Measure]:
    """Consistency, representativeness and the distances of distributions of pictures' features (N, D) beside those of a
    reference (M, D).

    Pictures of one ensemble follow one another, `ensemble_size` of them. The kernel distance takes random subsets of
    `subset_size` of both sets if that is above 0. `own` is that of `representativeness`. Features are scaled to unit
    length, and the cubic kernel's scale is 1. Measures that take more pictures than there are have no value, and say
    so.

    Raises ValueError where `unit_rows` does, for features of different widths, for sets whose features are all the
    same, and for ensembles that the pictures cannot be divided into.

    >>> rows = compare_features("set", torch.eye(4)[:3], torch.eye(4))
    >>> [row.name for row in rows if row.value is not None][:3]
    ['consistency', 'representativeness', 'distance to the mean']
    """
    check_ensembles(len(features), ensemble_size)
    rows, others = unit_pair(features, reference)
    check_different(torch.cat([rows, others]), "features of pictures", "there is nothing to compare")
    count = len(rows)

    def measure(name: str, function: Callable[[], Estimate], note: str, better: str = LOWER, *, least: int = 1,
                least_of_both: int = 1) -> Measure:
        if count < least or min(count, len(others)) < least_of_both:
            fewest = f"{max(least, least_of_both)} pictures or more{' in both sets' * (least_of_both > 1)}"
            return Measure(subject, name, None, better=better, count=count, note=f"takes {fewest}")
        return Measure.of(subject, name, function(), better=better, count=count, note=note)

    ensembles = EnsembleSums()
    ensembles.update(rows, [row // ensemble_size for row in range(count)])
    found = [measure("consistency", lambda: consistency_between(ensembles), "jackknife over ensembles",
                     least=2 * ensemble_size)]
    if ensemble_size > 1:
        found.append(measure("consistency within", lambda: consistency_within(ensembles), f"{STUDENT} over ensembles"))
    return [
        *found,
        measure("representativeness", lambda: representativeness(rows, others, own=own), _left_out(own)),
        measure("distance to the mean", lambda: distance_to_mean(rows, others), "delta method"),
        measure("Fréchet distance", lambda: frechet_estimate(_grouped(rows), _grouped(others)),
                "jackknife by ten groups", least_of_both=2),
        _kernel_measure(subject, rows, others, subset_size) if subset_size and min(count, len(others)) > 1 else
        measure("kernel distance", lambda: kernel_estimate(rows, others, scale=1), JACKKNIFE, least_of_both=2),
        measure("CMMD", lambda: clip_discrepancy(rows, others), JACKKNIFE, least_of_both=2),
    ]


def diversity(subject: str, features: Tensor) -> Measure:
    """How far pictures of one set (N, D) are apart on average.

    >>> diversity("reference", torch.eye(3)).value
    1.0
    """
    if len(features) < 2:
        return Measure(subject, "diversity", None, count=len(features), note="takes 2 pictures or more")
    return Measure.of(subject, "diversity", consistency(features), count=len(features), note=JACKKNIFE)


def prompt_measure(subject: str, features: Tensor, text: Tensor) -> Measure:
    """CLIP-T of pictures' embeddings (N, D) and that of their prompt (1, D).

    >>> prompt_measure("set", torch.eye(2)[:1], torch.tensor([[3.0, 4.0]])).value
    0.6
    """
    found = mean_estimate(moments(prompt_similarity(features, text)), least=-1.0, most=1.0)
    return Measure.of(subject, "CLIP-T", found, better=HIGHER, count=len(features), note=STUDENT)


def round_trip_measures(subject: str, pictures: tuple[Tensor, Tensor] | None = None,
                        latents: tuple[Tensor, Tensor] | None = None) -> list[Measure]:
    """PSNR of pictures and relative error of latents after a round trip and before it.

    Raises ValueError where `picture_psnr` and `latent_error` do.

    >>> round_trip_measures("set", (torch.full((1, 2, 2, 3), 0.5), torch.full((1, 2, 2, 3), 0.5)))[0].value
    100.0
    """
    found = []
    if pictures is not None:
        found.append(Measure.of(subject, "PSNR in dB", mean_estimate(moments(picture_psnr(*pictures)), least=0.0),
                                better=HIGHER, count=len(pictures[0]), note=STUDENT))
    if latents is not None:
        found.append(Measure.of(subject, "latent error", mean_estimate(moments(latent_error(*latents)), least=0.0),
                                better=LOWER, count=len(latents[0]), note=STUDENT))
    return found


def check_ensembles(count: int, ensemble_size: int) -> None:
    """Raise ValueError unless so many pictures can be divided into ensembles of this size."""
    if ensemble_size < 1 or count % ensemble_size:
        raise ValueError(f"{count} pictures cannot be divided into ensembles of {ensemble_size}.")


def moments(values: Tensor) -> RunningMoments:
    """The moments of numbers (N,), one for each picture."""
    found = RunningMoments()
    found.update(values)
    return found


def own_pictures(pictures: Tensor, reference: Tensor) -> Tensor | None:
    """Which pictures are in the reference, too, for `own`; None where none is, or where nothing would be left."""
    own = same_rows(pictures, reference)
    return own if own.any() and not own.all(1).any() else None


def _left_out(own: Tensor | None) -> str:
    if own is None:
        return JACKKNIFE
    count = int(own.any(1).sum())
    return f"{JACKKNIFE}; without itself for {count} picture{'s' * (count != 1)} that the reference has, too"


def _kernel_measure(subject: str, rows: Tensor, others: Tensor, subset_size: int) -> Measure:
    size = min(subset_size, len(rows), len(others))
    found = kernel_subsets(rows, others, size=size, scale=1)
    return Measure(subject, "kernel distance", found.mean, better=LOWER, count=len(rows),
                   note=f"mean of {SUBSETS} subsets of {size}, standard deviation {found.deviation:.3g}")


def _grouped(rows: Tensor) -> GroupedMoments:
    found = GroupedMoments()
    found.update(rows)
    return found
