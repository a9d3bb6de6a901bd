"""The rows of a comparison: each is the measure it is called by, and says why it has no value."""
import math

import pytest
import torch

from mental_averages.dma import metrics
from mental_averages.dma.metrics import (
    Measure,
    MeasureTable,
    compare_features,
    compare_looks,
    diversity,
    own_pictures,
    prompt_measure,
    round_trip_measures,
)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


FEATURES, REFERENCE = normal(6, 5) + 1, normal(20, 5, seed=1) + 0.8
ONE, OTHERS = metrics.unit_rows(FEATURES), metrics.unit_rows(REFERENCE)


def by_name(rows):
    assert MeasureTable.from_json(MeasureTable({}, rows).to_json()).rows == rows
    return {row.name: row for row in rows}


def values(row):
    return row.value, row.low, row.high


def test_every_row_is_the_measure_that_it_is_called_by():
    found = by_name(compare_features("set", FEATURES, REFERENCE, ensemble_size=2))
    sums, grouped = metrics.EnsembleSums(), (metrics.GroupedMoments(ensemble_size=2), metrics.GroupedMoments())
    sums.update(FEATURES, [0, 0, 1, 1, 2, 2])
    for moments, rows in zip(grouped, (ONE, OTHERS)):
        moments.update(rows)
    expected = {
        "consistency": metrics.consistency_between(sums), "consistency within": metrics.consistency_within(sums),
        "representativeness": metrics.representativeness(FEATURES, REFERENCE, ensemble_size=2),
        "distance to the mean": metrics.distance_to_mean(FEATURES, REFERENCE, ensemble_size=2),
        "Fréchet distance": metrics.frechet_estimate(*grouped),
        "kernel distance": metrics.kernel_estimate(ONE, OTHERS, scale=1, ensemble_size=2),
        "CMMD": metrics.clip_discrepancy(FEATURES, REFERENCE, ensemble_size=2)}
    assert list(found) == list(expected)
    for name, estimate in expected.items():
        assert values(found[name]) == pytest.approx(estimate, rel=1e-9), name
        assert found[name].better == "lower" and found[name].count == 6 and found[name].subject == "set"


def test_single_pictures_are_consistent_between_themselves():
    found = by_name(compare_features("set", FEATURES, REFERENCE))
    assert values(found["consistency"]) == pytest.approx(metrics.consistency(FEATURES))
    assert "consistency within" not in found


def test_one_picture_has_the_measures_that_one_can_have():
    found = by_name(compare_features("set", FEATURES[:1], REFERENCE))
    assert {name for name, row in found.items() if row.value is not None} == {"representativeness",
                                                                              "distance to the mean"}
    assert found["consistency"].note == "takes 2 pictures or more"
    assert found["CMMD"].note == "takes 2 pictures or more in both sets"


def test_subsets():
    found = by_name(compare_features("set", FEATURES, REFERENCE, subset_size=4))["kernel distance"]
    expected = metrics.kernel_subsets(ONE, OTHERS, size=4, scale=1)
    assert found.value == pytest.approx(expected.mean) and found.low is None
    assert found.note == f"mean of 100 subsets of 4, standard deviation {expected.deviation:.3g}"
    smaller = by_name(compare_features("set", FEATURES, REFERENCE, subset_size=len(REFERENCE) - 1))["kernel distance"]
    assert f"subsets of {len(FEATURES)}" in smaller.note


def test_subsets_that_would_be_all_pictures():
    """A hundred times the same number has no deviation to tell of: the distance of all has its interval."""
    found, whole = (by_name(compare_features("set", FEATURES, REFERENCE, subset_size=size))["kernel distance"]
                    for size in (1000, 0))
    assert (found.value, found.low, found.high) == (whole.value, whole.low, whole.high) and found.low is not None
    assert found.note == f"{whole.note}, at once: no set has more than 1000"


def test_pictures_that_the_reference_has_too_are_not_compared_with_themselves():
    reference = torch.rand(20, 4, 4, 3, generator=torch.Generator().manual_seed(0))
    own = own_pictures(reference[[2, 5]], reference)
    found = by_name(compare_features("set", REFERENCE[[2, 5]], REFERENCE, own=own))
    for name, function in (("representativeness", metrics.representativeness),
                           ("distance to the mean", metrics.distance_to_mean)):
        assert values(found[name]) == pytest.approx(function(REFERENCE[[2, 5]], REFERENCE, own=own))
        assert found[name].note.endswith("without itself for 2 pictures that the reference has, too")
    subsets = by_name(compare_features("set", REFERENCE[[2, 5]], REFERENCE, own=own, subset_size=2))
    for row in (found["Fréchet distance"], found["CMMD"], found["kernel distance"], subsets["kernel distance"]):
        assert row.note.endswith("; too small, because the reference has 2 pictures of these, too")
    assert "too" not in found["consistency"].note
    assert not any("; too" in row.note for row in compare_features("set", FEATURES, REFERENCE))
    assert own_pictures(reference[:2] + 1, reference) is None
    # A picture whose reference is nothing but itself would be left with nothing.
    assert own_pictures(reference[:1], reference[[0, 0]]) is None


def test_looks_are_relative():
    pictures = torch.rand(4, 8, 8, 3, generator=torch.Generator().manual_seed(0))
    found = by_name(compare_looks("set", pictures / 2, pictures))
    assert found["sharpness"].value == pytest.approx(0.25, rel=1e-5) and found["sharpness"].better == "higher"
    assert found["brightness"].value == pytest.approx(0.5, rel=1e-5) and found["brightness"].better == ""
    assert "another size" in by_name(compare_looks("set", pictures[:, :6], pictures))["sharpness"].note


def test_looks_beside_black_pictures_say_why_there_are_none():
    found = by_name(compare_looks("set", torch.ones(2, 4, 4, 3), torch.zeros(2, 4, 4, 3)))
    assert all(row.value is None and "mean of the reference is 0" in row.note for row in found.values())


def test_diversity_prompts_and_round_trips():
    assert values(diversity("set", FEATURES)) == pytest.approx(metrics.consistency(FEATURES))
    assert diversity("set", FEATURES[:1]).value is None
    text = normal(1, 5, seed=3)
    cosines = metrics.prompt_similarity(FEATURES, text)
    found = prompt_measure("set", FEATURES, text)
    assert found.value == pytest.approx(cosines.mean().item()) and found.low < found.value < found.high
    pictures = torch.full((3, 4, 4, 3), 0.5)
    rows = by_name(round_trip_measures("set", (pictures + 0.1, pictures), (1.5 * FEATURES, FEATURES)))
    assert rows["PSNR in dB"].value == pytest.approx(20, abs=1e-3)
    assert rows["latent error"].value == pytest.approx(0.5)
    assert round_trip_measures("set") == []


@pytest.mark.parametrize("change, complaint", [
    (dict(features=torch.ones(3, 4), reference=torch.ones(5, 4)), "All 8 features of pictures are the same"),
    (dict(features=torch.full((3, 5), math.nan)), "features must be finite"),
    (dict(reference=torch.ones(5, 4)), "not 5 and 4"), (dict(reference=torch.zeros(5, 5)), "rows of reference are 0"),
    (dict(ensemble_size=4), "6 pictures cannot be divided into ensembles of 4"), (dict(ensemble_size=0), "of 0")])
def test_sets_that_cannot_be_compared_are_refused(change, complaint):
    with pytest.raises(ValueError, match=complaint):
        compare_features("set", **{**dict(features=FEATURES, reference=REFERENCE), **change})


def test_equal_averages_beside_other_pictures_are_measured():
    found = by_name(compare_features("set", torch.ones(3, 5), REFERENCE))
    assert values(found["consistency"]) == pytest.approx((0, 0, 0), abs=1e-12)
    assert isinstance(found["representativeness"], Measure) and found["representativeness"].value > 0


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_pictures_with_nan_are_not_the_dullest_or_the_softest(value):
    """Their sharpness was 0 relative to the reference, from 0 on."""
    broken = torch.rand(3, 8, 8, 3)
    broken[0, 0, 0, 0] = value
    for sets in ((broken, torch.rand(4, 8, 8, 3)), (torch.rand(4, 8, 8, 3), broken)):
        with pytest.raises(ValueError, match="1 of 3 pictures contain NaN or infinity"):
            compare_looks("set", *sets)
