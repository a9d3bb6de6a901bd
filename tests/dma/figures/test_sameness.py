import pytest
import torch
from pictures import check_picture

from mental_averages.dma import figures
from mental_averages.dma.metrics import PromptSameness, SamenessReport

PROMPTS = [PromptSameness("a cat", 0.8, 0.7, 0.9), PromptSameness("a portrait of a woman", 0.5, 0.45, 0.55)]


def plot(*prompts, width=640):
    return figures.plot_sameness(SamenessReport({}, list(prompts)), width=width)


def test_plot():
    check_picture(plot(*PROMPTS), 640)


def test_another_measurement_looks_different_and_more_prompts_take_more_room():
    other = PromptSameness("a cat", 0.8, 0.75, 0.85)
    assert not torch.equal(plot(*PROMPTS), plot(other, PROMPTS[1]))
    assert plot(*PROMPTS * 10).shape[1] > 2 * plot(*PROMPTS).shape[1]


@pytest.mark.parametrize("width", [256, 4096])
def test_narrow_and_wide(width):
    check_picture(plot(PromptSameness("a very long prompt " * 20, 0.8, 0.7, 0.9), *PROMPTS, width=width), width)


@pytest.mark.parametrize("prompt", ["costs $5 or $6", "a_{b^c", "猫と犬", "a\tcat 😀", "a very long prompt " * 20,
                                    r"\frac{1}{2}$"])
def test_every_prompt_can_be_written(prompt):
    """As it is, and not as a formula; letters that the font has not as boxes."""
    check_picture(plot(PromptSameness(prompt, 0.8, 0.7, 0.9)), 640)


def test_a_report_without_prompts_says_so():
    with pytest.raises(ValueError, match="no prompts"):
        plot()
