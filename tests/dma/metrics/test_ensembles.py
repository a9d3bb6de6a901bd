"""Pictures of one ensemble are not independent: intervals over ensembles hold the truth as often as they say."""
import math

import pytest
import torch

from mental_averages.dma.metrics import (
    FeatureMoments,
    GroupedMoments,
    check_ensembles,
    clip_discrepancy,
    compare_features,
    compare_looks,
    distance_to_mean,
    frechet_distance,
    frechet_estimate,
    kernel_distance,
    kernel_estimate,
    prompt_measure,
    representativeness,
    round_trip_measures,
)

ENSEMBLES, SIZE, REFERENCE, TRIALS = 16, 6, 200, 200
SHARED, OWN = 0.5, 0.15  # standard deviations of what an ensemble's pictures share, and of what is each one's own
PATTERN = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(2, 2)[..., None].expand(4, 4, 3)
CENTRE, OTHER_CENTRE, TEXT = (torch.tensor([row], dtype=torch.float64) for row in
                              ([1.0, 0.2, 0.0, 0.0], [0.8, 0.0, 0.3, 0.0], [1.0, 0.0, 0.0, 0.0]))


def normal(generator, *shape):
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def clustered(generator, ensembles, size, width):
    """Normal numbers (N, width), those of one ensemble with a common part."""
    shared = SHARED * normal(generator, ensembles, 1, width)
    return (shared + OWN * normal(generator, ensembles, size, width)).flatten(0, 1)


def pictures_of(numbers):
    """Pictures (N, 4, 4, 3), brighter and of more contrast with their number (N,)."""
    return ((0.3 + 0.05 * numbers)[:, None, None, None] * (1 + 0.2 * PATTERN)).float()


def measured(generator, ensembles, size, reference, ensemble_size):
    """Every measure by its name, of pictures whose ensembles have a common part, beside independent pictures."""
    features = CENTRE + clustered(generator, ensembles, size, 4)
    others = OTHER_CENTRE + math.hypot(SHARED, OWN) * normal(generator, reference, 4)
    numbers = clustered(generator, ensembles, size, 1)[:, 0]
    pictures, plain = pictures_of(numbers), pictures_of(math.hypot(SHARED, OWN) * normal(generator, reference))
    options = dict(ensemble_size=ensemble_size)
    latents = 1 + numbers[:, None], torch.ones(len(numbers), 1, dtype=torch.float64)
    rows = [*compare_looks("set", pictures, plain, **options),
            *compare_features("set", features, others, **options), prompt_measure("set", features, TEXT, **options),
            *round_trip_measures("set", (pictures, torch.full_like(pictures, 0.6)), latents, **options)]
    return {row.name: row for row in rows}


@pytest.fixture(scope="module")
def trials():
    """The measures of many sets of clustered pictures, with the ensembles told and not told."""
    generators = [torch.Generator().manual_seed(0) for _ in range(2)]
    return [[measured(generator, ENSEMBLES, SIZE, REFERENCE, size) for _ in range(TRIALS)]
            for generator, size in zip(generators, (SIZE, 1))]


@pytest.fixture(scope="module")
def truth():
    """The measures of a set so large that its error is none beside those of the trials, without the two whose value
    is that of a set of this size."""
    return {name: row.value for name, row in measured(torch.Generator().manual_seed(1), 4000, 1, 4000, 1).items()}


def coverage(rows, true):
    return sum(row.low <= true <= row.high for row in rows) / len(rows)


# Both are above the distance of the distributions by what small sets add: their intervals are of sets of one size.
OF_THEIR_SIZE = ("Fréchet distance", "CMMD")
MEASURES = ("sharpness", "brightness", "representativeness", "distance to the mean", "Fréchet distance",
            "kernel distance", "CMMD", "CLIP-T", "PSNR in dB", "latent error")


@pytest.mark.parametrize("name", MEASURES)
def test_intervals_over_ensembles_hold_the_truth(trials, truth, name):
    told, untold = ([trial[name] for trial in each] for each in trials)
    true = sum(row.value for row in told) / TRIALS if name in OF_THEIR_SIZE else truth[name]
    # 95 % of 200 trials, and three standard errors of that.
    assert 0.90 <= coverage(told, true) <= 1
    assert coverage(untold, true) < 0.75


def test_kernel_distance_counts_pairs_of_different_ensembles(trials, truth):
    told, untold = ([trial["kernel distance"].value for trial in each] for each in trials)
    error = torch.tensor(told).std().item() / math.sqrt(TRIALS)
    assert abs(sum(told) / TRIALS - truth["kernel distance"]) < 3 * error
    assert sum(untold) / TRIALS > truth["kernel distance"] + 6 * error  # pictures of one ensemble are too alike


def features(rows, width=3, seed=0):
    return normal(torch.Generator().manual_seed(seed), rows, width) + 1


ROWS, OTHERS = features(12), features(9, seed=1)


def test_kernel_estimate_of_ensembles_by_its_definition():
    found, size, count = kernel_estimate(ROWS, OTHERS, scale=1, ensemble_size=3), 3, len(ROWS)

    def kernel(rows, others):
        return (rows @ others.T + 1).pow(3)

    def distance(rows, others):
        owner = torch.arange(len(rows)) // size
        apart = owner[:, None] != owner
        within = kernel(others, others)
        return (kernel(rows, rows)[apart].mean() + (within.sum() - within.trace()) / (len(others) * (len(others) - 1))
                - 2 * kernel(rows, others).mean()).item()

    def jackknife(values):
        values = torch.tensor(values, dtype=torch.float64)
        return (len(values) - 1) / len(values) * (values - values.mean()).square().sum()

    assert found.value == pytest.approx(distance(ROWS, OTHERS), rel=1e-9)
    kept = [torch.arange(count) // size != number for number in range(count // size)]
    error = (jackknife([distance(ROWS[rows], OTHERS) for rows in kept])
             + jackknife([distance(ROWS, OTHERS[torch.arange(9) != row]) for row in range(9)])).sqrt().item()
    assert found.high - found.value == pytest.approx(found.value - found.low)
    assert found.high - found.value == pytest.approx(3.182 * error, rel=0.03)  # Student's, 3 degrees of freedom


def test_ensembles_of_one_change_nothing():
    for function in (kernel_estimate, clip_discrepancy, representativeness, distance_to_mean):
        assert function(ROWS, OTHERS, ensemble_size=1) == function(ROWS, OTHERS)
    assert kernel_estimate(ROWS, OTHERS).value == pytest.approx(kernel_distance(ROWS, OTHERS))


def test_values_of_means_do_not_depend_on_ensembles():
    for function in (clip_discrepancy, representativeness, distance_to_mean):
        one, several = function(ROWS, OTHERS), function(ROWS, OTHERS, ensemble_size=4)
        assert one.value == pytest.approx(several.value) and (one.low, one.high) != (several.low, several.high)


def test_own_pictures_are_left_out_in_ensembles_too():
    own = torch.zeros(12, 9, dtype=torch.bool)
    own[0, 0] = True
    found = representativeness(ROWS, OTHERS, own=own, ensemble_size=3)
    assert found.value == pytest.approx(representativeness(ROWS, OTHERS, own=own).value)
    none = representativeness(ROWS, OTHERS, own=torch.zeros_like(own), ensemble_size=3)
    assert none == pytest.approx(representativeness(ROWS, OTHERS, ensemble_size=3))


def test_whole_ensembles_are_dealt_to_groups_whatever_the_batches():
    whole, parts, first, second = (GroupedMoments(ensemble_size=3) for _ in range(4))
    rows = features(36)
    whole.update(rows)
    for part in rows.split(5):
        parts.update(part)
    first.update(rows[:6])
    second.update(rows[6:])
    first.merge(second)
    for number in range(10):
        mine = FeatureMoments()
        mine.update(rows[torch.arange(36) // 3 % 10 == number])
        for grouped in (whole, parts, first):
            assert grouped.groups[number].count == mine.count
            assert torch.allclose(grouped.groups[number].mean, mine.mean)
    assert whole.ensembles == 12
    others = GroupedMoments()
    others.update(OTHERS)
    assert frechet_estimate(whole, others).value == pytest.approx(frechet_distance(rows, OTHERS))


@pytest.mark.parametrize("rows, size", [(4, 3), (3, 1)])
def test_moments_of_other_ensembles_are_not_merged(rows, size):
    moments, other = GroupedMoments(ensemble_size=3), GroupedMoments(ensemble_size=size)
    moments.update(features(rows))
    with pytest.raises(ValueError, match=f"{rows} rows in ensembles of 3 cannot go on with ensembles of {size}"):
        moments.merge(other)


def test_a_single_ensemble_says_what_is_not_known():
    found = {row.name: row for row in compare_features("set", ROWS, OTHERS, ensemble_size=12)}
    assert found["consistency"].value is None and found["kernel distance"].value is None
    assert found["kernel distance"].note == "takes 24 pictures or more"
    for name in ("Fréchet distance", "CMMD"):
        assert found[name].value is not None and found[name].low is None
    for name in ("representativeness", "distance to the mean"):
        assert found[name].low is not None and found[name].note.endswith("of the reference's error alone")
    with pytest.raises(ValueError, match="two ensembles or more, but there is one"):
        kernel_estimate(ROWS, OTHERS, ensemble_size=12)


@pytest.mark.parametrize("size", [0, 5])
def test_ensembles_that_pictures_cannot_be_divided_into_are_refused(size):
    for function in (kernel_estimate, clip_discrepancy, representativeness, distance_to_mean):
        with pytest.raises(ValueError, match=f"12 pictures cannot be divided into ensembles of {size}"):
            function(ROWS, OTHERS, ensemble_size=size)
    with pytest.raises(ValueError, match="cannot be divided"):
        check_ensembles(12, size)
