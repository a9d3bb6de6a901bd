import dataclasses

import pytest
import torch
from toys import LinearGaussian

from mental_averages.dma.alignment import AlignmentSettings, State
from mental_averages.dma.alignment._match import match
from mental_averages.dma.diffusion import starting_noise
from mental_averages.dma.execution import BatchSize
from mental_averages.dma.solvers import LBFGS, Adam

SHAPE, SIGMA = (2, 3, 3), 2.0
SETTINGS = AlignmentSettings(count=5, keep=5, aligned_steps=1, solver=LBFGS(iterations=60, tolerance=1e-9))


def started():
    """A state of five latents whose target is known, and is reached by a sixth."""
    state = State(5, latents=starting_noise(5, SHAPE, 1))
    state.take_target(LinearGaussian().features(starting_noise(1, SHAPE, 2), SIGMA)[0], 0.25)
    return state


def matched(state, settings=SETTINGS, size=2):
    return list(match(LinearGaussian(), SIGMA, settings, BatchSize(size), state))


def test_every_latent_is_moved_until_its_features_are_the_targets():
    state = started()
    target = state.target
    events = matched(state)
    features = LinearGaussian().features(state.latents, SIGMA)
    torch.testing.assert_close(features, target.expand(5, -1), rtol=0, atol=1e-3)
    assert state.target is None and (state.update, state.matched) == (1, 0)
    assert [(event.kind, event.row, event.rows) for event in events] == [("match", row, 5) for row in (2, 4, 5)]
    assert all(event.changed for event in events), "an interrupt of the step that follows keeps the match"
    assert sum(event.amount for event in events) == state.tally["iterations"].sum()
    assert events[-1].value == pytest.approx(state.tally["residual_after"].mean().item())


def test_those_that_are_matched_already_stay_as_they_are():
    state = started()
    state.matched = 3
    before = state.latents.clone()
    events = matched(state)
    assert torch.equal(state.latents[:3], before[:3]) and not torch.equal(state.latents[3:], before[3:])
    assert state.tally["iterations"][:3].sum() == 0 and [event.row for event in events] == [5]


def test_a_step_of_several_targets_counts_them_together_and_keeps_where_it_began():
    state = started()
    first = state.target
    matched(state, dataclasses.replace(SETTINGS, solver=Adam(learning_rate=0.05, iterations=3)))
    began, forwards = state.tally["residual_before"].clone(), state.tally["forwards"].clone()
    assert (state.tally["iterations"] == 3).all() and (forwards == 4).all() and (state.tally["backwards"] == 3).all()
    state.take_target(2 * first, 0.5)
    matched(state, dataclasses.replace(SETTINGS, solver=Adam(learning_rate=0.05, iterations=5)))
    assert torch.equal(state.tally["residual_before"], began) and state.mean_error == 0.25
    assert (state.tally["iterations"] == 8).all() and torch.equal(state.tally["forwards"], forwards + 6)
    apart = (LinearGaussian().features(state.latents, SIGMA) - 2 * first).square().sum(1) / (2 * first).square().sum()
    torch.testing.assert_close(state.tally["residual_after"], apart, rtol=1e-4, atol=1e-6)


def test_learning_rates_are_in_the_papers_units_or_in_those_of_the_latents():
    """One step of a fresh Adam has the size of the learning rate, in one or the other."""
    scale = (1 + SIGMA**2) ** -0.5  # from x to z
    solver = Adam(learning_rate=1e-3, iterations=1)
    for paper_units, size in ((True, 1e-3 / scale), (False, 1e-3)):
        state = started()
        before = state.latents.clone()
        matched(state, dataclasses.replace(SETTINGS, solver=solver, paper_units=paper_units))
        torch.testing.assert_close((state.latents - before).abs(), torch.full_like(before, size), rtol=1e-2, atol=1e-6)
