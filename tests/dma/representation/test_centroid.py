"""Weighted means of representations, and distances from them, against the same written out."""
import math

import pytest
import torch

from mental_averages.dma.representation import Representation, centroid, distances_to


def found(count=3, shape=(2, 4)):
    means = torch.randn(count, *shape, generator=torch.Generator().manual_seed(2))
    return Representation(means, "middle", (3.0, 0.5), 2, 7, "mean", (2, 6, 4), torch.ones(2, 5))


def test_all_count_alike_without_weights():
    rows = found()
    middle = centroid(rows)
    torch.testing.assert_close(middle.means, rows.means.mean(0, keepdim=True))
    assert len(middle) == 1 and (middle.layer, middle.sigmas, middle.draws, middle.seed, middle.pooling) == (
        "middle", (3.0, 0.5), 2, 7, "mean")


def test_weights_are_shares_and_one_alone_chooses():
    rows = found(shape=(2, 4, 2, 2))
    torch.testing.assert_close(centroid(rows, [2, 0, 6]).means[0], 0.25 * rows.means[0] + 0.75 * rows.means[2])
    assert torch.equal(centroid(rows, [0, 1e-9, 0]).means, rows.means[1:2])


@pytest.mark.parametrize("weights", [[], [1, 1], [1, 1, -1], [0, 0, 0], [1, math.nan, 1], [1, math.inf, 1]])
def test_other_weights_are_refused(weights):
    with pytest.raises(ValueError, match="3 representations need as many weights"):
        centroid(found(), weights)


def test_what_is_not_finite_is_refused():
    rows = found()
    rows.means[1, 0, 0] = math.nan
    with pytest.raises(ValueError, match="NaN"):
        centroid(rows)


def test_distances_are_relative_to_the_target():
    rows = found()
    target = rows.of([0])
    expected = [(row - target.means[0]).norm().item() / target.means.norm().item() for row in rows.means]
    assert distances_to(rows, target) == pytest.approx(expected) and distances_to(rows, target)[0] == 0
