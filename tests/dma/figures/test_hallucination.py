import dataclasses

import pytest
import torch
from pictures import check_picture

from mental_averages.dma import figures
from mental_averages.dma.metrics import hallucination_report


def report(scores, references=None, rate=0.05):
    references = references or torch.rand(60, generator=torch.Generator().manual_seed(1)).exp().tolist()
    return hallucination_report(list(scores), references, false_positive_rate=rate, settings={})


@pytest.mark.parametrize("width", [256, 1024, 4096])
def test_plot(width):
    check_picture(figures.plot_hallucination(report([1.2, 2.0, 40.0]), width=width), width)


def test_what_is_flagged_looks_different():
    assert not torch.equal(figures.plot_hallucination(report([1.2])), figures.plot_hallucination(report([50.0])))


@pytest.mark.parametrize("scores, references", [
    ([0.0, 1.0], None), ([0.0], [0.0] * 19), ([1.0], [1.0] * 30), ([1e-9, 1e9], [1.0] * 30), ([1.0] * 200, None)])
def test_scores_of_every_kind_can_be_drawn(scores, references):
    check_picture(figures.plot_hallucination(report(scores, references)), 1024)


def test_a_report_without_samples_says_so():
    with pytest.raises(ValueError, match="no samples"):
        figures.plot_hallucination(report([]))


@pytest.mark.parametrize("width", [256, 1024])
def test_cautions_stand_below(width):
    """What the table says of the numbers, their picture says, too."""
    plain = report([1.2, 2.0])
    told = dataclasses.replace(plain, settings={
        **plain.settings, "sampled_unlike_references": ["1 by the sampler $ of $ x"]})
    one, other = (figures.plot_hallucination(each, width=width) for each in (plain, told))
    check_picture(other, width)
    assert other.shape[1] > one.shape[1]
    assert (other[0, -12:].min(2).values < 0.5).any()
