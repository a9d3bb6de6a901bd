"""Taking representations apart, and which of them can be compared."""
import math
from dataclasses import replace

import pytest
import torch

from mental_averages.dma.representation import Representation, check_alike, check_representation


def representation(**changes):
    generator = torch.Generator().manual_seed(0)
    found = Representation(torch.randn(5, 2, 3, generator=generator), "middle_block", (2.0, 0.5), 4, 1, "mean",
                           (4, 8, 8), torch.randn(2, 16, generator=generator))
    return replace(found, **changes)


def test_latents_and_levels_are_taken_out():
    found = representation()
    assert torch.equal(found.of([3, 0]).means, found.means[[3, 0]]) and len(found.of(slice(0, 2))) == 2
    for level, sigma in ((0, 2.0), (1, 0.5), (-1, 0.5), (-2, 2.0)):
        one = found.at(level)
        assert torch.equal(one.means[:, 0], found.means[:, level]) and one.sigmas == (sigma,)
        assert torch.equal(one.fingerprint[0], found.fingerprint[level])
    assert found.rows().shape == (5, 6) and torch.equal(found.at(1).rows(), found.means[:, 1])


def test_a_model_is_known_by_its_answers():
    found = representation()
    assert found.is_of(found.fingerprint) and found.is_of(found.fingerprint * (1 + 1e-6))
    assert not found.is_of(found.fingerprint * 1.01) and found.is_of(found.fingerprint * 1.01, tolerance=0.02)
    assert not found.is_of(found.fingerprint[:1])


@pytest.mark.parametrize("changes, message", [
    (dict(layer="output_blocks.0"), r"layers differ \(middle_block and output_blocks.0\)"),
    (dict(pooling="2x2"), "pooling differ"),
    (dict(sigmas=(2.0, 0.4)), r"noise levels differ \(2, 0.5 and 2, 0.4\)"),
    (dict(shape=(4, 16, 16)), "sizes of latents differ"),
    (dict(means=torch.zeros(5, 2, 4)), "sizes of features differ"),
    (dict(fingerprint=torch.zeros(2, 16)), "different models, or under different prompts"),
])
def test_what_cannot_be_compared_is_told_apart(changes, message):
    with pytest.raises(ValueError, match=message):
        check_alike(representation(), representation(**changes))


def test_other_latents_draws_and_seeds_can_be_compared():
    check_alike(representation(), representation(means=torch.zeros(1, 2, 3), draws=9, seed=3))


@pytest.mark.parametrize("changes, message", [
    (dict(means=torch.zeros(5, 3, 3)), r"shape \(5, 3, 3\) at 2 noise levels"),
    (dict(means=torch.zeros(5, 2)), "damaged"),
    (dict(means=torch.zeros(0, 2, 3)), "damaged"),
    (dict(fingerprint=torch.zeros(1, 16)), "damaged"),
    (dict(means=torch.full((1, 2, 3), math.nan)), "NaN"),
])
def test_damage_is_found(changes, message):
    assert check_representation(representation()) is not None
    with pytest.raises(ValueError, match=message):
        check_representation(representation(**changes))
