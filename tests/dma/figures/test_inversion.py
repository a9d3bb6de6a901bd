import json

import pytest
import torch
from pictures import check_picture
from reports import INVERSION, saved

from mental_averages.dma.figures import plot_inversion

STEPS = json.loads(INVERSION)["steps"]
UNMEASURED = dict(round_trip=None, steps=[{**step, "residual": [], "iterations": []} for step in STEPS])


@pytest.mark.parametrize("changes", [{}, UNMEASURED])
def test_plot(changes):
    check_picture(plot_inversion(saved("inversion", **changes), width=600), 600)


@pytest.mark.parametrize("changes", [
    UNMEASURED, dict(round_trip=None), dict(settings={"method": "ddim"}),
    dict(steps=[STEPS[0], {**STEPS[1], "norm": [0.5, 0.6]}]),
    dict(steps=[{**step, "iterations": []} for step in STEPS]),
    dict(steps=[{**step, "code": [1.1, 1.4]} for step in STEPS])])
def test_other_reports_look_different(changes):
    assert not torch.equal(plot_inversion(saved("inversion")), plot_inversion(saved("inversion", **changes)))


def test_nothing_to_plot():
    with pytest.raises(ValueError, match="no steps"):
        plot_inversion(saved("inversion", steps=[]))
