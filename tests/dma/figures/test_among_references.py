"""Scores on axes: everything that is judged stands where it should, and what is flagged in its own colour."""
import math
from types import SimpleNamespace

import pytest

from mental_averages.dma.figures._among_references import LOWEST, MOST_NUMBERED, lowest_ratio, show_among_references
from mental_averages.dma.figures._style import new_figure


def shown(scores, flagged, references=(1.0, 2.0, 4.0), threshold=3.0):
    axes = new_figure(400).subplots()
    show_among_references(axes, SimpleNamespace(scores=scores, flagged=flagged, references=list(references),
                                                threshold=threshold), rate=0.25, what="pictures")
    return axes


def test_marks_stand_at_their_scores_and_are_numbered():
    axes = shown([1.5, 3.5, 0.0], [False, True, False])
    plain, flagged = axes.collections
    assert plain.get_offsets()[:, 0].tolist() == [1.5, 1.0] and flagged.get_offsets()[:, 0].tolist() == [3.5]
    assert sorted(text.get_text() for text in axes.texts) == ["1", "2", "3"]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert {"3 references", "2 pictures, not flagged", "1 flagged",
            "flagged above this (at most 25.0% by chance)"} == set(labels)
    assert sum(patch.get_height() for patch in axes.patches) == 3
    assert axes.lines[0].get_xdata()[0] == 3.0
    assert axes.get_yticks().tolist() == [0, 1]  # counts are whole, and end where the marks begin


@pytest.mark.parametrize("references, told", [
    ([1.0, 2.0, 4.0], {"1", "2", "4"}), ([0.2, 1.0, 5.0], {"0.2", "0.5", "1", "2", "5"}), ([1.0, 100.0], {"1", "10"})])
def test_numbers_of_a_logarithmic_axis_are_plain_and_there_are_at_least_two(references, told):
    axes = shown([1.5], [False], references)
    axes.figure.canvas.draw()
    low, high = axes.get_xlim()
    found = [label.get_text() for which in ("major", "minor") for label in axes.xaxis.get_ticklabels(which=which)
             if label.get_text() and low <= label.get_position()[0] <= high]
    assert told <= set(found) and len(found) == len(set(found))
    assert "1 picture, none flagged" in [text.get_text() for text in axes.get_legend().get_texts()]


def test_negative_scores_stand_on_a_linear_axis():
    axes = shown([-0.12, -0.03], [False, True], [-0.2, -0.1, -0.05], -0.04)
    plain, flagged = axes.collections
    assert plain.get_offsets()[0, 0] == -0.12 and flagged.get_offsets()[0, 0] == -0.03
    assert axes.get_xscale() == "linear" and axes.lines[0].get_xdata()[0] == -0.04
    low, high = axes.get_xlim()
    assert low < -0.2 < -0.03 < high and sum(patch.get_height() > 0 for patch in axes.patches) == 3


def test_equal_negative_scores_have_an_axis():
    low, high = shown([-2.0], [False], [-2.0, -2.0], -2.0).get_xlim()
    assert low < -2 < high < 0


@pytest.mark.parametrize("score", [0.00015659015168905305, 1.0, -2.0])
def test_scores_that_differ_by_rounding_alone_have_an_axis(score):
    """Bins between two neighbours of a number have no edges in order."""
    near = score
    for _ in range(3):
        near = math.nextafter(near, 100.0)
    low, high = shown([score], [False], [score, near], near).get_xlim()
    assert low < score <= near < high


def test_many_are_not_numbered():
    assert not shown([1.5] * (MOST_NUMBERED + 1), [False] * (MOST_NUMBERED + 1)).texts


def test_equal_scores_of_zero_have_an_axis():
    """Where they stand at 0."""
    axes = shown([0.0], [False], [0.0, 0.0], 0.0)
    low, high = axes.get_xlim()
    assert low < 0 < high and axes.collections[0].get_offsets()[0, 0] == axes.lines[0].get_xdata()[0] == 0


@pytest.mark.parametrize("width", [100, 400, 4000])
def test_axes_have_room(width):
    assert lowest_ratio(width, 0.5) * width >= max(LOWEST, 0.5 * width) - 1e-6
