import dataclasses
import json
import pickle

import pytest
import torch
from toys import LinearGaussian

from mental_averages.dma.alignment import AlignmentSettings, State
from mental_averages.dma.alignment._match import match
from mental_averages.dma.diffusion import starting_noise, work_here
from mental_averages.dma.execution import BatchSize
from mental_averages.dma.solvers import LBFGS, Adam, GaussNewton

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
    done = [(event.kind, event.row, event.rows) for event in events if not event.iteration]
    assert done == [("match", row, 5) for row in (2, 4, 5)]
    # Every iteration is told of, and how far it brings its rows.
    first = [event for event in events if event.iteration and event.row == 0]
    assert [event.iteration for event in first] == list(range(1, len(first) + 1)) and len(first) > 3
    assert all(a.under_way < b.under_way < 2 and a.value >= b.value for a, b in zip(first, first[1:]))
    assert all(event.changed for event in events), "an interrupt of the step that follows keeps the match"
    assert sum(event.amount for event in events) == state.tally["iterations"].sum()
    assert events[-1].value == pytest.approx(state.tally["residual_after"].mean().item())


def test_those_that_are_matched_already_stay_as_they_are():
    state = started()
    state.matched = 3
    before = state.latents.clone()
    events = matched(state)
    assert torch.equal(state.latents[:3], before[:3]) and not torch.equal(state.latents[3:], before[3:])
    assert state.tally["iterations"][:3].sum() == 0 and {event.row for event in events} == {3, 5}


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


@pytest.mark.parametrize("solver", [LBFGS(iterations=12), Adam(learning_rate=0.05, iterations=12), GaussNewton()],
                         ids=lambda solver: type(solver).__name__)
@pytest.mark.parametrize("stop", [2, 5, 13])
def test_what_is_interrupted_within_a_batch_goes_on_from_there(solver, stop):
    settings = dataclasses.replace(SETTINGS, solver=solver)
    whole = started()
    calls = len(matched(whole, settings, size=2))
    state, events = started(), []
    for event in match(LinearGaussian(), SIGMA, settings, BatchSize(2), state):
        events.append(event)
        if len(events) == stop:
            break
    tensors, meta = state.packed()
    again = State.unpacked({name: value.clone() for name, value in tensors.items()}, json.loads(json.dumps(meta)))
    left = matched(again, settings, size=2)
    assert torch.equal(again.latents, whole.latents)
    assert all(torch.equal(again.tally[name], whole.tally[name]) for name in whole.tally)
    assert len(left) == calls - stop
    assert sum(event.amount for event in (*events, *left)) == whole.tally["iterations"].sum()
    assert again.under_way is None and again.nearest is None


def test_the_memory_of_other_rows_is_not_used():
    """As when a batch has run out of memory and is done again in parts."""
    state = started()
    events = match(LinearGaussian(), SIGMA, SETTINGS, BatchSize(4), state)
    next(events), next(events)
    assert state.under_way and state.begun(slice(0, 4)) is state.under_way
    assert state.begun(slice(0, 2)) is None and state.under_way is None


class Elsewhere(LinearGaussian):
    """A Denoiser that another process has, which is sent what to do and sends back what came of it."""

    def over(self, batch, total, task, first, latents):
        for rows, found in work_here(LinearGaussian(), batch, total, pickle.loads(pickle.dumps(task)), first, latents):
            yield rows, pickle.loads(pickle.dumps(found))

    def features(self, x, sigma):
        raise AssertionError("the features are taken where the latents are matched")


@pytest.mark.parametrize("solver", [LBFGS(iterations=12), Adam(learning_rate=0.05, iterations=12), GaussNewton()],
                         ids=lambda solver: type(solver).__name__)
@pytest.mark.parametrize("paper_units", [True, False])
def test_workers_match_to_the_same_bit_a_micro_batch_at_a_time(solver, paper_units):
    settings = dataclasses.replace(SETTINGS, solver=solver, paper_units=paper_units)
    here, there = started(), started()
    told = matched(here, settings)
    events = list(match(Elsewhere(), SIGMA, settings, BatchSize(2), there))
    assert torch.equal(there.latents, here.latents) and not torch.equal(here.latents, started().latents)
    assert all(torch.equal(there.tally[name], here.tally[name]) for name in here.tally)
    assert [(event.row, event.iteration) for event in events] == [(2, 0), (4, 0), (5, 0)]
    assert sum(event.amount for event in events) == sum(event.amount for event in told)
    assert there.target is None and (there.update, there.matched) == (1, 0)


def test_workers_go_on_from_a_match_that_was_interrupted_within_a_batch():
    """What the solver had come to there is theirs no more: these rows are matched from their start."""
    state, whole = started(), started()
    matched(whole)
    events = match(LinearGaussian(), SIGMA, SETTINGS, BatchSize(2), state)
    [next(events) for _ in range(3)]
    assert state.under_way
    list(match(Elsewhere(), SIGMA, SETTINGS, BatchSize(2), state))
    assert torch.equal(state.latents, whole.latents) and state.under_way is None and state.nearest is None
