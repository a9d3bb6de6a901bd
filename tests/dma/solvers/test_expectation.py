"""The expected iterations against closed forms."""
import dataclasses
import math

import pytest

from mental_averages.dma.solvers import LBFGS, Adam, GaussNewton, PastMatch


def past_match(before, after, iterations):
    return PastMatch([before] * 4, [after] * 4, [iterations] * 4)


def test_iterations_ahead_go_by_what_an_iteration_gained():
    """A residual that halved in each of 10 iterations halves again; each later step starts at a quarter of what was
    left."""
    solver = LBFGS(iterations=40, tolerance=2**-12)
    last = past_match(1.0, 2**-10, 10)
    assert solver.expected_iterations([last], 2**-8, 1) == pytest.approx(4)
    assert solver.expected_iterations([last], 2**-12, 3) == 0
    # 2^-6 is 16 times what was left: the first of two steps gets to the tolerance in 6, and the second starts at 2^-8.
    assert solver.expected_iterations([last], 2**-6, 2) == pytest.approx(6 + 4)
    assert dataclasses.replace(solver, tolerance=0.0).expected_iterations([last], 2**-8, 3) == 30


def test_iterations_ahead_lie_between_meeting_a_plateau_again_and_not():
    solver = LBFGS(iterations=40, tolerance=0.001, plateau=0.02)
    ended_on_plateau = past_match(0.12, 0.02, 30)
    again, free = (math.log(4) / (math.log(ratio) / 30) for ratio in (0.12 / 0.02, (0.12 - 0.02) / (0.02 * 0.02)))
    assert solver.expected_iterations([ended_on_plateau], 0.004, 1) == pytest.approx(0.75 * again + 0.25 * free)
    assert solver.expected_iterations([ended_on_plateau], 0.009, 1) < 30


def test_nothing_is_expected_of_matches_that_took_no_iterations():
    assert LBFGS().expected_iterations([past_match(0.5, 0.5, 0)], 0.5, 3) == 0


def test_the_last_match_with_iterations_is_gone_by():
    """What it gained an iteration, and what was left after the very last match."""
    solver = LBFGS(iterations=40, tolerance=2**-12)
    past = [past_match(1.0, 2**-10, 10), past_match(2**-12, 2**-12, 0)]
    assert solver.expected_iterations(past, 2**-11, 2) == pytest.approx(1 + 1)


@pytest.mark.parametrize("solver", [Adam, LBFGS, GaussNewton])
def test_every_solver_of_the_room_expects_the_same(solver):
    limits = dict(iterations=40, tolerance=0.001, plateau=0.02)
    past = [past_match(0.12, 0.02, 30)]
    assert solver(**limits).expected_iterations(past, 0.004, 2) == LBFGS(**limits).expected_iterations(past, 0.004, 2)
