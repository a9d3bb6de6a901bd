import json

import pytest
import torch
from pictures import check_picture
from reports import MIXTURE, saved

from mental_averages.dma import figures


def test_plot():
    check_picture(figures.plot_mixture(saved("mixture"), width=600), 600)


def test_other_distances_look_different():
    report = saved("mixture")
    modes = json.loads(MIXTURE)["modes"]
    others = saved("mixture", modes=[{**modes[0], "distances": [0.9, 0.1]}, modes[1]])
    assert others.in_own_mode == 1
    assert not torch.equal(figures.plot_mixture(report), figures.plot_mixture(others))
    again = figures.plot_mixture(saved("mixture"))
    assert torch.equal(figures.plot_mixture(report), again)


@pytest.mark.parametrize("count", [1, 9])
def test_one_mode_and_more_than_there_is_room_for_numbers(count):
    mode = json.loads(MIXTURE)["modes"][0]
    modes = [{**mode, "distances": [float(other != own) for other in range(count)]} for own in range(count)]
    check_picture(figures.plot_mixture(saved("mixture", modes=modes), width=600), 600)


def test_plot_without_modes_says_so():
    with pytest.raises(ValueError, match="no modes"):
        figures.plot_mixture(saved("mixture", modes=[]))
