import math

import pytest
import torch
from pictures import check_picture

from mental_averages.dma import figures
from mental_averages.dma.mean_shift import AveragedLevel, MeanShiftReport

LEVELS = [AveragedLevel(14.6, 32, 0.04, 0.3, None), AveragedLevel(8.1, 16, 0.03, 0.25, 0.2)]


def test_plot():
    check_picture(figures.plot_mean_shift(MeanShiftReport({}, LEVELS), width=640), 640)


def test_another_measurement_looks_different():
    other = [LEVELS[0], AveragedLevel(8.1, 32, 0.02, 0.25, 0.4)]
    first, second = (figures.plot_mean_shift(MeanShiftReport({}, levels)) for levels in (LEVELS, other))
    assert not torch.equal(first, second)


def test_one_noise_has_no_error_and_one_level_no_movement():
    check_picture(figures.plot_mean_shift(MeanShiftReport({}, [AveragedLevel(14.6, 1, None, 0.0, None)])), 1024)


def test_plot_without_levels_says_so():
    with pytest.raises(ValueError, match="no averaged levels"):
        figures.plot_mean_shift(MeanShiftReport({}, []))


def test_heat_map_is_bright_where_looks_differ_and_as_large_as_the_picture():
    spread = torch.zeros(4, 6, 5)
    spread[:, 1, 3] = 2.0
    image = figures.heat_map(spread, factor=8)
    assert image.shape == (1, 48, 40, 3) and image.min() >= 0 and image.max() <= 1
    brightness = image.sum(-1)[0]
    row, column = divmod(int(brightness.argmax()), 40)
    assert row // 8 == 1 and column // 8 == 3
    assert brightness[40:, :16].max() < 0.05


def test_heat_map_does_not_depend_on_the_unit():
    spread = torch.rand(4, 6, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(figures.heat_map(spread), figures.heat_map(100 * spread), rtol=0, atol=0.02)


@pytest.mark.parametrize("value", [0.0, 0.7])
def test_heat_map_of_an_even_spread_is_black(value):
    assert figures.heat_map(torch.full((4, 6, 5), value)).max() < 0.02


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_heat_map_of_a_broken_spread_says_so(broken):
    spread = torch.ones(4, 6, 5)
    spread[0, 0, 0] = broken
    with pytest.raises(ValueError, match="NaN or infinity"):
        figures.heat_map(spread)
