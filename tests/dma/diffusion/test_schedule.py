"""Noise levels in order, and those that are none."""
import math

import pytest
import torch

from mental_averages.dma.diffusion import check_falling, distinct_levels, falling, rising


@pytest.mark.parametrize("sigmas", [[3.0, 1.0, 0.0], [0.0, 1.0, 3.0]])
def test_either_direction_is_put_in_order(sigmas):
    assert rising(torch.tensor(sigmas)) == (0, 1, 3)
    assert falling(torch.tensor(sigmas)).tolist() == [3, 1, 0]


@pytest.mark.parametrize("sigmas, message", [
    ([1.0], "two or more noise levels.*but these are 1"), ([], "but these are none"),
    ([1.0, -1.0], "none of them negative"), ([math.nan, 1.0], "NaN"), ([math.inf, 1.0], "NaN"),
    ([[1.0, 0.0]], "the shape"),
    ([2.0, 1.0, 1.0, 0.0], "steadily"), ([2.0, 1.0, 1.5, 0.0], "steadily"), ([1.0, 1.0], "steadily"),
    (list(range(20)) + [0.0], r"6, 7, \.\.\."),
])
@pytest.mark.parametrize("order", [rising, falling, check_falling])
def test_what_is_no_schedule_is_refused(order, sigmas, message):
    with pytest.raises(ValueError, match=message):
        order(torch.tensor(sigmas))


def test_a_schedule_that_rises_is_told_from_one_that_falls():
    check_falling(torch.tensor([3.0, 1.0, 0.0]))
    with pytest.raises(ValueError, match="noise levels rise: 0, 1, 3"):
        check_falling(torch.tensor([0.0, 1.0, 3.0]))


@pytest.mark.parametrize("sigmas, expected", [
    ([3.0, 1.0, 1.0, 0.0], [3, 1, 0]), ([0.0, 0.0, 1.0, 3.0, 3.0], [0, 1, 3]), ([3.0, 1.0, 3.0], [3, 1, 3]), ([], []),
    ([[1.0, 0.0], [1.0, 0.0]], [[1, 0], [1, 0]]),  # no schedule, which those that check one are to see
])
def test_a_step_between_equal_levels_is_none(sigmas, expected):
    assert distinct_levels(torch.tensor(sigmas)).tolist() == expected
