"""What looks wrong about a cell, and how often it does by chance."""
from collections import Counter

import pytest
import torch

from mental_averages.dma.metrics import COPY, ConceptCell, doubts


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def cell(own, features, own_sharpness=1.0, sharpness=None, nearest=None):
    count = len(features)
    return ConceptCell(own_features=own, features=features, own_sharpness=own_sharpness,
                       sharpness=torch.ones(count) if sharpness is None else sharpness,
                       nearest=torch.ones(count) if nearest is None else nearest)


def test_an_average_in_the_middle_is_not_doubted():
    features = normal(16, 8)
    assert doubts(cell(features.mean(0), features)) == []
    assert doubts(ConceptCell(average=torch.zeros(1, 1, 3))) == [], "without samples there is nothing to ask"


def test_an_average_that_is_like_none_of_its_samples():
    features = normal(16, 8)
    assert doubts(cell(features.mean(0) + 10, features)) == ["unlike its samples"]


def test_the_rank_is_that_of_the_mean_squared_distances():
    features = normal(12, 5, seed=3)
    direction = torch.nn.functional.normalize(normal(5, seed=4), dim=0)
    found = []
    for step in (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5):
        own = features.mean(0) + step * direction
        rows = torch.cat([own[None], features])
        distances = torch.cdist(rows, rows).square().sum(1)
        found.append(bool(distances[0] > distances[1:].max()))
        assert doubts(cell(own, features)) == ["unlike its samples"] * found[-1]
    assert any(found) and not all(found)


def test_one_more_sample_is_doubted_as_often_as_it_is_last():
    said, cells = Counter(), 3000
    for seed in range(cells):
        rows, sharpness = normal(9, 10, seed=seed), normal(9, seed=10_000 + seed)
        said.update(doubts(cell(rows[0], rows[1:], sharpness[0].item(), sharpness[1:])))
    # Within three standard errors. Of samples that are not compared with the average it was said of 0.140.
    assert {name: times / cells for name, times in said.items()} == {
        name: pytest.approx(1 / 9, abs=0.017) for name in ("unlike its samples", "softer than its samples")}


def test_soft_averages_and_copies():
    features, sharpness = normal(9, 4), torch.arange(1.0, 10.0)
    assert doubts(cell(features.mean(0), features, 0.9, sharpness)) == ["softer than its samples"]
    assert doubts(cell(features.mean(0), features, 1.1, sharpness)) == []
    nearest = torch.tensor([COPY / 2, COPY / 2, *[1.0] * 7])
    assert doubts(cell(features.mean(0), features, nearest=nearest)) == ["2 of 9 samples are copies"]


def test_seven_samples_are_too_few_to_be_last_among():
    features = normal(7, 4)
    assert doubts(cell(features.mean(0) + 10, features, 0.0)) == []
