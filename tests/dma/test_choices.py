import pytest

from mental_averages.dma.choices import check_choice


@pytest.mark.parametrize("choices", [("lin", "fix"), {"lin": "a meaning", "fix": "another"}])
def test_a_choice_is_one_of_those_that_are_named(choices):
    check_choice("fix", choices, "method")
    with pytest.raises(ValueError, match="^There is no method 'fox': choose one of lin, fix.$"):
        check_choice("fox", choices, "method")
