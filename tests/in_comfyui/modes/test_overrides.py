"""Numbers that each mode of AlignModes may have of its own."""
import re

import pytest


@pytest.mark.parametrize("text, message", [
    ("steps=5", "mode's number and a colon"), ("first: steps=5", "mode's number and a colon"),
    ("0: size=5", "cannot change 'size'"),
    ("0: steps=five", "'five' is not a whole number for steps"), ("0: steps=1.5", "whole number"),
    ("0: steps", "not a whole number"),
    ("0: steps=1\n0: rank=2", "two lines"), ("0: steps=0", "steps is 0 .*from 1 to 100000"),
    ("0: cfg=nan", "cfg is nan .*from 0.0 to 100.0"),
    ("0: cfg=100.5", "to 100.0"), ("0: learning_rate=inf", "to 1.0"), ("0: learning_rate=0", "from 1e-07"),
    ("0: seed=-1", "from 0"),
    ("3: seed=18446744073709551616", "to 18446744073709551615"), ("0: vectors=17", "to 16"),
    ("0: rank=1025", "to 1024"), ("0: count=100001", "to 100000")])
def test_overrides_that_say_nothing_clear_are_refused_before_the_graph_runs(comfyui, text, message):
    from mental_averages.nodes.modes import AlignModes, parse_overrides

    assert re.search(message, AlignModes.validate_inputs(text))
    with pytest.raises(ValueError, match=message):
        parse_overrides(text)


def test_overrides(comfyui):
    from mental_averages.nodes.modes import AlignModes, parse_overrides

    text = "\n 1: steps=500, learning_rate=1e-3 \n0:cfg=0\n2:\n"
    assert parse_overrides(text) == {1: {"steps": 500, "learning_rate": 1e-3}, 0: {"cfg": 0.0}, 2: {}}
    assert AlignModes.validate_inputs(text) is True and AlignModes.validate_inputs("") is True
    assert AlignModes.validate_inputs(
        None) is True and AlignModes.validate_inputs() is True, "ComfyUI gives None for a linked input"
