import matplotlib
import pytest
import torch
from pictures import check_picture

from mental_averages.dma.figures._style import COLOURS, drawn, new_figure, note_gradient_error


@pytest.mark.parametrize("width, ratio, height", [(640, 0.5, 320), (1024, 0.34, 348), (256, 1.0, 256)])
def test_a_figure_has_the_size_it_was_asked_for(width, ratio, height):
    figure = new_figure(width, ratio)
    figure.subplots().plot([0, 1], [0, 1], "k", linewidth=20)
    check_picture(image := drawn(figure), width)
    assert image.shape[1] == height


def test_an_empty_figure_is_white():
    assert torch.equal(drawn(new_figure(100, 1.0)), torch.ones(1, 100, 100, 3))


def test_axes_are_in_the_house_style():
    figure = new_figure(300)
    axes = figure.subplots()
    axes.set_title("title")
    drawn(figure)
    assert axes.title.get_fontsize() == 10 and not axes.spines["top"].get_visible()
    assert not axes.spines["right"].get_visible() and axes.spines["left"].get_visible()


def test_the_gradient_self_test_is_noted_where_it_was_made():
    figures = [new_figure(300) for _ in range(3)]
    for figure, settings in zip(figures, ({}, {"gradient_error": 1e-5}, {"gradient_error": 3e-2})):
        note_gradient_error(figure, settings)
    assert figures[0].get_supxlabel() == "" and "1.0e-05" in figures[1].get_supxlabel()
    images = [drawn(figure) for figure in figures]
    assert images[0].min() == 1 and not torch.equal(images[1], images[2])


def test_colours_are_told_apart():
    assert len({matplotlib.colors.to_rgb(colour) for colour in COLOURS}) == len(COLOURS)


def test_no_window_and_no_global_state():
    backend = matplotlib.get_backend()
    drawn(new_figure(100))
    assert matplotlib.get_backend() == backend
