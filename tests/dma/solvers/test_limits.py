"""Limits that make no sense are refused where a solver is made; those that do are not."""
import dataclasses
import math

import pytest

from mental_averages.dma.solvers import LBFGS, Adam, GaussNewton

SOLVERS = [Adam, LBFGS, GaussNewton]


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("change, message", [
    (dict(iterations=-1), "iterations cannot be -1"), (dict(tolerance=-1e-3), "tolerance cannot be -0.001"),
    (dict(tolerance=math.nan), "tolerance cannot be nan"), (dict(plateau=-0.1), "plateau"),
    (dict(plateau=1.1), "plateau"), (dict(plateau=math.nan), "plateau"), (dict(patience=0), "patience"),
])
def test_limits_that_make_no_sense(solver, change, message):
    with pytest.raises(ValueError, match=message):
        solver(**change)
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(solver(), **change)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("change", [dict(iterations=0), dict(tolerance=0.0), dict(tolerance=math.inf),
                                    dict(plateau=1.0), dict(patience=1)])
def test_limits_at_the_edge(solver, change):
    assert dataclasses.replace(solver(), **change) == solver(**change)


@pytest.mark.parametrize("solver", SOLVERS)
def test_limits_are_fields_of_the_solver_itself(solver):
    """Reports and the keys of saved states name them."""
    assert {"iterations", "tolerance", "plateau", "patience"} <= dataclasses.asdict(solver()).keys()
