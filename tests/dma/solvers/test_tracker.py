"""Which latents go on, what is kept of them and what is counted."""
import pytest
import torch

from mental_averages.dma.solvers._tracker import Tracker, residual_and_gradient


def test_residuals_are_relative_to_the_target():
    tracker = Tracker(torch.zeros(2, 3), torch.tensor([3.0, 4.0]), 0.0, 0.0, 1)
    assert tracker.residual(torch.tensor([[3.0, 4.0], [0.0, 4.0]])).tolist() == pytest.approx([0, 9 / 25])


def test_the_best_iterate_is_matched_and_steps_are_counted():
    tracker = Tracker(torch.zeros(2, 1), torch.ones(1), 0.1, 0.0, 1)
    going = tracker.see(torch.tensor([[1.0], [2.0]]), torch.tensor([0.5, 0.05]))
    assert going.tolist() == [True, False], "the second is within the tolerance"
    tracker.take(going, backwards=3)
    assert tracker.see(torch.tensor([[9.0]]), torch.tensor([0.7])).tolist() == [True]
    tracker.take(torch.tensor([True]), backwards=3)
    match = tracker.match()
    assert match.latents.flatten().tolist() == [1, 2] and match.residual_after.tolist() == pytest.approx([0.5, 0.05])
    assert match.residual_before.tolist() == pytest.approx([0.5, 0.05])
    assert (match.iterations.tolist(), match.forwards.tolist(), match.backwards.tolist()) == ([2, 0], [2, 1], [6, 0])


def test_a_plateau_is_a_fall_by_less_than_its_share_within_the_patience():
    tracker = Tracker(torch.zeros(1, 1), torch.ones(1), 0.0, 0.1, 2)
    heard = [tracker.see(torch.zeros(1, 1), torch.tensor([value])).item() for value in (1.0, 0.95, 0.85, 0.8, 0.78)]
    assert heard == [True, True, True, True, False], "0.78 is more than nine tenths of 0.85"


def test_no_gradient_is_taken_in_the_last_evaluation_or_where_none_goes_on():
    start = torch.ones(2, 1)
    tracker = Tracker(start, torch.full((1,), 2.0), 0.0, 0.0, 1)
    residual, going, gradient = residual_and_gradient(lambda z: 3 * z, tracker, start, last=False)
    assert residual.tolist() == [0.25, 0.25] and going.all()
    torch.testing.assert_close(gradient, torch.full((2, 1), 2 * (3 - 2) * 3 / 4))
    assert residual_and_gradient(lambda z: 3 * z, tracker, start, last=True)[2] is None
    assert residual_and_gradient(lambda z: 2 * z, tracker, start, last=False)[2] is None
