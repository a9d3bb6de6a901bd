import re

import pytest
import torch
from toys import LinearGaussian, sigmas

from mental_averages.dma.diffusion import Parametrization
from mental_averages.dma.mean_shift import TreeSettings, mode_tree, spread_shortfall, spread_steps

SHAPE, LEVELS = (1, 2, 2), sigmas(20)


@pytest.mark.parametrize("change, samples, message", [
    (dict(), 1, "at least two samples"), (dict(steps=()), 3, "one or more"), (dict(steps=(2, 2)), 3, "all different"),
    (dict(steps=(20,)), 3, "between 0 and 19"), (dict(steps=(-1,)), 3, "between 0 and 19"),
    (dict(count=1), 3, "count is 1"), (dict(count=5), 3, "in pairs"), (dict(iterations=2), 3, "iterations is 2")])
def test_bad_settings_are_refused_before_any_work(change, samples, message):
    denoiser = LinearGaussian(SHAPE)
    denoiser.denoise = None
    with pytest.raises(ValueError, match=message):
        mode_tree(denoiser, torch.zeros(samples, *SHAPE), LEVELS, TreeSettings(**{"steps": (3,), **change}))


def test_levels_lie_where_modes_part_whatever_the_law_of_noise():
    falling = [2.0 ** (3 - step / 4) for step in range(25)]
    assert spread_steps(5, [*falling, 0.0], Parametrization.EPS, (4, 8, 8)) == (8, 10, 11, 13, 14)  # 2 ... 0.7
    assert spread_steps(1, [*falling, 0.0], Parametrization.V, (4, 8, 8)) == (8,)
    flow = [noise / (1 + noise) for noise in falling]
    assert spread_steps(5, [*flow, 0.0], Parametrization.FLOW, (4, 8, 8)) == (8, 10, 11, 13, 14)


def test_levels_of_larger_latents_are_higher_but_leave_the_first_step_out():
    falling = [2.0 ** (3 - step / 4) for step in range(25)]
    assert spread_steps(5, [*falling, 0.0], Parametrization.EPS, (4, 16, 16)) == (4, 6, 7, 9, 10)
    assert spread_steps(5, [*falling, 0.0], Parametrization.EPS, (4, 128, 128)) == (1, 3, 4, 6, 7)


def test_a_short_schedule_has_room_for_few_levels():
    assert spread_steps(5, [1.0, 0.9, 0.75, 0.5, 0.0], Parametrization.FLOW, (4, 64, 64)) == (1, 2)
    assert spread_steps(5, [1.0, 0.0], Parametrization.FLOW, (4, 64, 64)) == (0,)
    with pytest.raises(ValueError, match="at least one level"):
        spread_steps(0, [1.0, 0.0], Parametrization.EPS, (4, 8, 8))


@pytest.mark.parametrize("law, side, steps, message", [
    # 20 steps of a flow model that is shifted by 3: at 512 pixels there are five levels, at 1024 three.
    (Parametrization.FLOW, 64, (3, 4, 5, 6, 7), None),
    (Parametrization.FLOW, 128, (2, 3, 4), "^Only 3 of 5 levels: from noise 32 down to 10.7 the schedule has no more"),
    # An eps model whose schedule ends below the noise that the law asks for.
    (Parametrization.EPS, 64, (1, 2, 4, 5, 7),
     "^In latents of 64 x 64 .* at noise 16 and less, .* second step is at 12: the levels begin there.$")])
def test_it_is_told_where_levels_are_not_those_that_were_asked_for(law, side, steps, message):
    times = [1 - step / 20 for step in range(20)]
    levels = ([3 * time / (1 + 2 * time) for time in times] if law is Parametrization.FLOW
              else [14.6 * 0.82 ** step for step in range(12)])
    asked = 5, [*levels, 0.0], law, (4, side, side)
    told = spread_shortfall(*asked)
    if message is None:
        assert told is None
    else:
        assert told is not None and re.search(message, told)
    assert spread_steps(*asked) == steps
