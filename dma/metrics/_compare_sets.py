"""All measures of a set of pictures beside a reference, as rows of a table."""
from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..statistics import RunningMoments, check_different
from ._clip_discrepancy import clip_discrepancy
from ._consistency import EnsembleSums, consistency, consistency_between, consistency_within
from ._ensembles import check_ensembles, ensemble_means
from ._estimate import Estimate, mean_estimate, ratio_of_means
from ._feature_moments import GroupedMoments
from ._frechet import frechet_estimate
from ._kernel import SUBSETS, kernel_estimate, kernel_subsets
from ._looks import brightness, sharpness
from ._measure_table import HIGHER, LOWER, Measure
from ._pictures import check_pictures
from ._prompt_similarity import prompt_similarity
from ._reconstruction import latent_error, picture_psnr
from ._representativeness import distance_to_mean, representativeness
from ._unit import unit_pair

STUDENT, JACKKNIFE, DELTA = "Student's interval", "jackknife", "delta method"
REFERENCE_ALONE = "of the reference's error alone"


def compare_looks(subject: str, pictures: Tensor, reference: Tensor, *, ensemble_size: int = 1) -> list[Measure]:
    """Sharpness and brightness of pictures (N, H, W, 3), in ensembles as in `compare_features`, relative to those of a
    reference. Raises ValueError for NaN and infinity; what else is in the way stands in the note of a row without a
    value.

    >>> [row.name for row in compare_looks("set", torch.rand(2, 4, 4, 3), torch.rand(3, 4, 4, 3))]
    ['sharpness', 'brightness']
    """
    for each in (pictures, reference):
        check_pictures(each)
    rows = []
    size = "" if pictures.shape[1:3] == reference.shape[1:3] else ", of pictures of another size"
    note = f"relative to the reference{size}; {_over(DELTA, len(pictures), ensemble_size)}"
    for name, measure, better in (("sharpness", sharpness, HIGHER), ("brightness", brightness, "")):
        try:
            found = ratio_of_means(moments(measure(pictures), ensemble_size), moments(measure(reference)))
        except ValueError as error:
            rows.append(Measure(subject, name, None, better=better, count=len(pictures), note=str(error)))
        else:
            rows.append(Measure.of(subject, name, found, better=better, count=len(pictures), note=note))
    return rows


def compare_features(subject: str, features: Tensor, reference: Tensor, *, ensemble_size: int = 1,
                     subset_size: int = 0, own: Tensor | None = None) -> list[Measure]:
    """Consistency, representativeness and the distances of distributions of pictures' features (N, D) beside those of a
    reference (M, D).

    Pictures of one ensemble follow one another, `ensemble_size` of them; they are not independent of each other, so
    that every interval is over ensembles. The kernel distance takes random subsets of `subset_size` of both sets, each
    picture for itself, if that is above 0 and one of the sets has more. `own` is that of `representativeness`;
    distances of all pictures to all are too small where there are own ones, and say so. Features are scaled to unit
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
    # Subsets that are all pictures would give one number many times, and a deviation of nothing.
    whole = f", at once: no set has more than {subset_size}" if subset_size >= max(count, len(others)) else ""

    def measure(name: str, function: Callable[[], Estimate], note: str, better: str = LOWER, *, least: int = 1,
                least_of_both: int = 1) -> Measure:
        if count < least or min(count, len(others)) < least_of_both:
            fewest = (f"{least} pictures or more" if least > least_of_both else
                      f"{least_of_both} pictures or more in both sets")
            return Measure(subject, name, None, better=better, count=count, note=f"takes {fewest}")
        return Measure.of(subject, name, function(), better=better, count=count, note=note)

    ensembles = EnsembleSums()
    ensembles.update(rows, [row // ensemble_size for row in range(count)])
    found = [measure("consistency", lambda: consistency_between(ensembles), f"{JACKKNIFE} over ensembles",
                     least=2 * ensemble_size)]
    if ensemble_size > 1:
        found.append(measure("consistency within", lambda: consistency_within(ensembles), f"{STUDENT} over ensembles"))
    return [
        *found,
        measure("representativeness", lambda: representativeness(rows, others, own=own, ensemble_size=ensemble_size),
                _over(JACKKNIFE, count, ensemble_size) + _left_out(own)),
        measure("distance to the mean",
                lambda: distance_to_mean(rows, others, own=own, ensemble_size=ensemble_size),
                _over(DELTA if own is None else JACKKNIFE, count, ensemble_size) + _left_out(own)),
        measure("Fréchet distance", lambda: frechet_estimate(_grouped(rows, ensemble_size), _grouped(others)),
                f"{JACKKNIFE} by ten groups of {_units(ensemble_size)}{_shared(own)}", least_of_both=2),
        _kernel_measure(subject, rows, others, subset_size, ensemble_size, _shared(own))
        if subset_size and not whole and min(count, len(others)) > 1 else
        measure("kernel distance", lambda: kernel_estimate(rows, others, scale=1, ensemble_size=ensemble_size),
                f"{JACKKNIFE} over {_units(ensemble_size)}{whole}{_shared(own)}", least=2 * ensemble_size,
                least_of_both=2),
        measure("CMMD", lambda: clip_discrepancy(rows, others, ensemble_size=ensemble_size),
                f"{JACKKNIFE} over {_units(ensemble_size)}{_shared(own)}", least_of_both=2),
    ]


def diversity(subject: str, features: Tensor) -> Measure:
    """How far pictures of one set (N, D) are apart on average.

    >>> diversity("reference", torch.eye(3)).value
    1.0
    """
    if len(features) < 2:
        return Measure(subject, "diversity", None, count=len(features), note="takes 2 pictures or more")
    return Measure.of(subject, "diversity", consistency(features), count=len(features),
                      note=f"{JACKKNIFE} over pictures")


def prompt_measure(subject: str, features: Tensor, text: Tensor, *, ensemble_size: int = 1) -> Measure:
    """CLIP-T of pictures' embeddings (N, D), in ensembles as in `compare_features`, and that of their prompt (1, D).

    >>> prompt_measure("set", torch.eye(2)[:1], torch.tensor([[3.0, 4.0]])).value
    0.6
    """
    found = mean_estimate(moments(prompt_similarity(features, text), ensemble_size), least=-1.0, most=1.0)
    return Measure.of(subject, "CLIP-T", found, better=HIGHER, count=len(features),
                      note=f"{STUDENT} over {_units(ensemble_size)}")


def round_trip_measures(subject: str, pictures: tuple[Tensor, Tensor] | None = None,
                        latents: tuple[Tensor, Tensor] | None = None, *, ensemble_size: int = 1) -> list[Measure]:
    """PSNR of pictures and relative error of latents after a round trip and before it, in ensembles as in
    `compare_features`.

    Raises ValueError where `picture_psnr`, `latent_error` and `check_ensembles` do.

    >>> round_trip_measures("set", (torch.full((1, 2, 2, 3), 0.5), torch.full((1, 2, 2, 3), 0.5)))[0].value
    100.0
    """
    found = []

    def measure(name: str, values: Tensor, better: str) -> None:
        found.append(Measure.of(subject, name, mean_estimate(moments(values, ensemble_size), least=0.0), better=better,
                                count=len(values), note=f"{STUDENT} over {_units(ensemble_size)}"))

    if pictures is not None:
        measure("PSNR in dB", picture_psnr(*pictures), HIGHER)
    if latents is not None:
        measure("latent error", latent_error(*latents), LOWER)
    return found


def moments(values: Tensor, ensemble_size: int = 1) -> RunningMoments:
    """The moments of ensembles' means of numbers (N,), one for each picture."""
    found = RunningMoments()
    found.update(ensemble_means(values, ensemble_size))
    return found


def _left_out(own: Tensor | None) -> str:
    return "" if own is None else f"; without itself for {_told(own)} that the reference has, too"


def _shared(own: Tensor | None) -> str:
    """What pictures that are in both sets do to a distance of all to all."""
    return "" if own is None else f"; too small, because the reference has {_told(own)} of these, too"


def _told(own: Tensor) -> str:
    count = int(own.any(1).sum())
    return f"{count} picture{'s' * (count != 1)}"


def _over(method: str, count: int, ensemble_size: int) -> str:
    """How an interval of so many pictures beside a reference was found."""
    if count == ensemble_size:
        return f"{method}, {REFERENCE_ALONE}"
    return f"{method} over {_units(ensemble_size)}"


def _units(ensemble_size: int) -> str:
    return "ensembles" if ensemble_size > 1 else "pictures"


def _kernel_measure(subject: str, rows: Tensor, others: Tensor, subset_size: int, ensemble_size: int,
                    remark: str) -> Measure:
    size = min(subset_size, len(rows), len(others))
    found = kernel_subsets(rows, others, size=size, scale=1)
    blind = "; pairs within an ensemble are among them" if ensemble_size > 1 else ""
    return Measure(subject, "kernel distance", found.mean, better=LOWER, count=len(rows),
                   note=f"mean of {SUBSETS} subsets of {size}, standard deviation {found.deviation:.3g}{blind}{remark}")


def _grouped(rows: Tensor, ensemble_size: int = 1) -> GroupedMoments:
    found = GroupedMoments(ensemble_size=ensemble_size)
    found.update(rows)
    return found
