import pytest
import torch
from pictures import check_picture
from reports import saved

from mental_averages.dma import figures
from mental_averages.dma.alignment import AlignedStep, AlignmentReport

STEP = AlignedStep(3.0, 0.1, [0.5, 0.4], [0.0, 0.02], [5, 6], 0.3, 0.9)


def test_plot_has_the_asked_width_and_something_on_it():
    image = figures.plot_alignment(AlignmentReport({}, 1.0, [STEP, STEP]), width=640)
    check_picture(image, 640)
    assert image.max() == 1 and image.mean() < 0.99


def test_plot_tells_the_gradient_self_test():
    without, low, high = (figures.plot_alignment(AlignmentReport(settings, 1.0, [STEP]), width=640)
                          for settings in ({}, {"gradient_error": 1e-5}, {"gradient_error": 3e-2}))
    assert not torch.equal(without, low) and not torch.equal(low, high)


def test_other_residuals_look_different():
    report = saved("alignment")
    assert not torch.equal(figures.plot_alignment(report), figures.plot_alignment(
        AlignmentReport(report.settings, 1.0, [report.steps[0], STEP])))


def test_plot_without_steps_says_so():
    with pytest.raises(ValueError, match="no aligned steps"):
        figures.plot_alignment(AlignmentReport({}, 1.0, []))
