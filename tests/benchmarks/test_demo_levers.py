"""The comparison of levers: what they are, and how compute is made equal."""
import math
import sys

import pytest

import workspace

sys.path.insert(0, str(workspace.PACK / "benchmarks" / "demo"))
import _levers
from _levers import ARCHITECTURES, BASE, LEVERS

import dataset


def test_each_lever_changes_one_option_of_the_training():
    base = vars(_levers.options_of(BASE))
    for lever in {**LEVERS, **ARCHITECTURES}:
        found = vars(_levers.options_of(lever))
        assert sum(found[name] != base[name] for name in base) == (lever != BASE), lever


def test_levers_take_equal_compute(comfyui):
    """A step of four batches in its last quarter is 1.75 steps, and one of a larger network as many as that has more
    multiplications (MODEL_CARD.md, in billions)."""
    assert _levers.multiplications("narrow") == pytest.approx(0.91e9, rel=0.01)
    assert _levers.equal_steps(BASE, 200, "narrow") == _levers.equal_steps("assigned noise", 200, "narrow") == 200
    assert _levers.equal_steps("larger batch", 200, "narrow") == round(200 / 1.75)
    assert _levers.equal_steps("attentive", 200, "narrow") == pytest.approx(200 * 0.91 / 1.01, abs=2)
    assert _levers.equal_steps("late", 200, "narrow") == pytest.approx(200 * 0.91 / 1.15, abs=2)


def test_intervals_are_students():
    mean, reach = _levers.interval([1.0, 2.0, 4.5])
    assert mean == 2.5 and reach == pytest.approx(4.302653 * math.sqrt(3.25 / 3), 1e-5)
    assert math.isnan(_levers.interval([2.0])[1])


def test_the_styles_of_a_lever_exist():
    assert set(_levers.options_of("four styles").styles) < {icons.style for icons in dataset.ICON_SETS}
