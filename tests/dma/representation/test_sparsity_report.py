"""The report of sparsity from representations, and its JSON form."""
from dataclasses import replace

import pytest
import torch
from reports import SPARSITY, saved

from mental_averages.dma.representation import Representation, SparsityReport, sparsity


def representation(means, layer="middle_block", **changes):
    found = Representation(means, layer, (2.0, 0.0), 4, 1, "mean", (4, 8, 8), torch.ones(2, 16))
    return replace(found, **changes)


def sparse(count=30, channels=10):
    """At the first level two of ten channels are active for every picture, at the second one for few."""
    means = torch.zeros(count, 2, channels)
    generator = torch.Generator().manual_seed(0)
    means[:, 0, :2] = 1.0
    means[:, 1, 0] = 1.0
    means[:, 1, 1] = 0.001 * torch.randn(count, generator=generator)
    means[3, 1, 1] = 1.0
    return means


def test_numbers_are_those_of_the_channels():
    report = sparsity([representation(sparse(), "a"), representation(torch.ones(30, 2, 4), "b")],
                      {"prompt": "none"}, 2.5)
    first, second = report.blocks
    assert (first.name, first.channels, second.name, second.channels) == ("a", 10, "b", 4)
    assert first.participation[0] == pytest.approx(0.2) and first.error[0] == pytest.approx(0)
    assert first.participation[1] == pytest.approx((29 * 0.1 + 0.2) / 30, abs=1e-3) and first.error[1] > 0
    # Nothing varies at the first level; at the second one channel does, which is special to one picture.
    assert first.differences == [None, pytest.approx(0.1)] and first.specialised == [None, 1.0]
    assert second.participation == [pytest.approx(1), pytest.approx(1)] and second.specialised == [None, None]
    assert report.settings == {"pictures": 30, "sigmas": [2.0, 0.0], "draws": 4, "seed": 1, "prompt": "none"}
    assert SparsityReport.from_json(report.to_json()) == report and report.seconds == 2.5


def test_few_pictures_have_no_special_channels():
    block = sparsity([representation(sparse(19))]).blocks[0]
    assert block.specialised == [None, None] and block.participation[0] == pytest.approx(0.2)


@pytest.mark.parametrize("representations, message", [
    ([], "no representations"),
    ([representation(torch.ones(1, 2, 3))], "2 pictures or more, but there is 1"),
    ([representation(torch.ones(5, 2, 3, 2, 2), pooling="2x2")], "pooling 2x2"),
    ([representation(torch.ones(5, 2, 3)), representation(torch.ones(4, 2, 3), "b")], "and b were read of other"),
    ([representation(torch.ones(5, 2, 3)), representation(torch.ones(5, 2, 3), sigmas=(2.0, 1.0))], "noise levels"),
])
def test_what_has_no_sparsity_is_refused(representations, message):
    with pytest.raises(ValueError, match=message):
        sparsity(representations)


def test_reports_of_the_first_release_are_read():
    report = SparsityReport.from_json(SPARSITY)
    assert report == saved("sparsity")
    lines = report.table().splitlines()
    assert len(lines) == 2 + 6 and "| c.0 | 64 | 0 | - | - | - | - |" in lines


def test_a_block_of_other_levels_is_damage():
    with pytest.raises(ValueError, match="a.0 has other noise levels"):
        SparsityReport.from_json(SPARSITY.replace('"sigmas": [3.5, 0.0]', '"sigmas": [3.5]'))


def test_nan_is_refused():
    with pytest.raises(ValueError, match="contains NaN"):
        sparsity([representation(torch.full((30, 2, 4), torch.nan), "a")])
