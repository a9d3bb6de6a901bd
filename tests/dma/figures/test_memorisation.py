import dataclasses

import pytest
import torch
from pictures import check_picture
from reports import saved

from mental_averages.dma import figures
from mental_averages.dma.representation import SCORES, MemorisationReport, memorisation_report


def report(scores, kinds=SCORES):
    references = torch.rand(60, generator=torch.Generator().manual_seed(1)).exp()
    return memorisation_report(dict.fromkeys(kinds, torch.tensor(scores)), dict.fromkeys(kinds, references), kinds[0],
                               false_positive_rate=0.05)


@pytest.mark.parametrize("width", [256, 1024])
@pytest.mark.parametrize("kinds", [SCORES, SCORES[:1]])
def test_plot(width, kinds):
    image = figures.plot_memorisation(report([1.2, 2.0, 40.0], kinds), width=width)
    check_picture(image, width)
    assert image.shape[1] >= 200 * len(kinds)


def test_what_is_flagged_looks_different():
    assert not torch.equal(figures.plot_memorisation(report([1.2])), figures.plot_memorisation(report([50.0])))


def test_the_score_that_the_flag_goes_by_is_on_top():
    found = saved("memorisation")
    turned = MemorisationReport(found.settings, found.scores[::-1])
    assert not torch.equal(figures.plot_memorisation(found, width=512), figures.plot_memorisation(turned, width=512))


def test_a_report_without_pictures_says_so():
    with pytest.raises(ValueError, match="no pictures"):
        figures.plot_memorisation(report([]))


@pytest.mark.parametrize("width", [256, 1024])
def test_cautions_stand_below(width):
    """What the table says of the numbers, their picture says, too."""
    plain = report([1.2, 2.0])
    told = dataclasses.replace(plain, settings={
        **plain.settings, "sampled_unlike_references": ["1 by the sampler $ of $ x"]})
    one, other = (figures.plot_memorisation(each, width=width) for each in (plain, told))
    check_picture(other, width)
    assert other.shape[1] > one.shape[1]
    assert (other[0, -12:].min(2).values < 0.5).any()
