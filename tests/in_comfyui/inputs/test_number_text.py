"""Numbers that people type in a row."""
import pytest


@pytest.fixture(scope="module")
def inputs(comfyui):
    from mental_averages.nodes import inputs

    return inputs


def test_words_are_apart_by_what_people_type(inputs):
    assert inputs.words(" a, b;c\n d,,e ") == ["a", "b", "c", "d", "e"] and inputs.words(" ;\n") == []


def test_numbers_of_a_kind(inputs):
    assert inputs.numbers("2, 8; 32", "counts", "2, 8", int) == [2, 8, 32]
    assert inputs.numbers("0 0.5\n-1e-3", "levels", "0, 0.2") == [0.0, 0.5, -1e-3]


@pytest.mark.parametrize("text, kind, message", [
    ("", float, "There are no levels, or one is not finite: write for example 0, 0.2"), ("nan", float, "not finite"),
    ("1, inf", float, "not finite"), ("1 x", float, "levels '1 x' are not a row of numbers"),
    ("1, 2.5", int, "not a row of whole numbers")])
def test_other_texts(inputs, text, kind, message):
    with pytest.raises(ValueError, match=message):
        inputs.numbers(text, "levels", "0, 0.2", kind)
