import dataclasses
import math

import pytest
import torch
from memory import Memory, copied
from toys import Biased, LinearGaussian, sigmas

from mental_averages.dma.alignment import (
    AlignedStep,
    AlignmentReport,
    AlignmentSettings,
    Noise,
    State,
    align,
    first_features,
)
from mental_averages.dma.alignment._state import moments_of, spread_and_norm
from mental_averages.dma.execution import BatchSize, Checkpoint
from mental_averages.dma.solvers import LBFGS, Adam, Match
from mental_averages.dma.statistics import MomentTree, RunningMoments

SHAPE = (2, 3, 3)


def same(first, second):
    """Whether two states are alike in every field, tensors to the bit, and NaN like NaN."""
    def alike(one, other):
        if isinstance(one, torch.Tensor):
            return one.dtype == other.dtype and torch.equal(one, other)
        if isinstance(one, RunningMoments):
            return alike(vars(one), vars(other))
        if isinstance(one, dict):
            return one.keys() == other.keys() and all(alike(one[name], other[name]) for name in one)
        if dataclasses.is_dataclass(one):
            return type(one) is type(other) and alike(vars(one), vars(other))
        return one == other or (one != one and other != other)

    return all(alike(getattr(first, field.name), getattr(second, field.name)) for field in dataclasses.fields(State))


def saves_of(settings, denoiser, size=2):
    memory = Memory()
    align(denoiser, sigmas(), SHAPE, settings, batch=BatchSize(size), watchers=[Checkpoint(memory, seconds=-1)])
    return memory.saves


def test_a_state_comes_back_from_a_file_as_it_was_at_any_time():
    """At the start, in the midst of a match, after its first target of two, between two steps, and at the end."""
    settings = AlignmentSettings(count=9, aligned_steps=2, keep=3, seed=3, target_updates=2,
                                 solver=Adam(learning_rate=0.05, iterations=20))
    saves = saves_of(settings, LinearGaussian())
    assert len(saves) > 10 and any("under_way" in meta for _, meta in saves)
    states = [State(9), *(State.unpacked(*save) for save in saves)]
    for state in states:
        assert same(State.unpacked(*copied(*state.packed())), state)
    midst = [state for state in states if state.matched]
    assert {(state.step, state.update) for state in midst} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    for state in midst:
        assert state.target.shape == (40,) and set(state.tally) == {"residual_before", "residual_after", "iterations",
                                                                    "forwards", "backwards"}
        done = state.tally["iterations"].tolist()
        assert done == [20 * (state.update + 1)] * state.matched + [20 * state.update] * (9 - state.matched)
    about = [state for state in states if state.target is not None and not state.matched]
    assert {(state.step, state.update) for state in about} == {(0, 0), (0, 1), (1, 0), (1, 1)}, "a mean is dear"
    assert {(state.step, state.update) for state in midst if state.matched == 9} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    between = [state for state in states if not state.tally and state.target is None and state.records
               and not state.kept]
    assert all((state.matched, state.update) == (0, 0) for state in between) and len(between) == 2
    kept = [(state.step, state.finished) for state in states if state.kept]
    assert kept == [*((step, False) for step in range(2, 9)), (8, True)]
    assert states[-1].finished and len(states[-1].latents) == 3 and len(states[-1].records) == 2


def test_what_earlier_versions_did_not_save_is_unknown():
    tensors, meta = State(4, latents=torch.zeros(2, *SHAPE)).packed()
    for name in ("mean_error", "seconds_left", "kept"):
        del meta[name]
    found = State.unpacked(tensors, meta)
    assert found.mean_error == 0 and not found.kept and found.seconds_left is None and math.isnan(found.initial_spread)


def test_a_step_from_its_target_to_its_record():
    state = State(7, latents=torch.zeros(3, *SHAPE))
    state.take_target(torch.ones(5), 0.125)
    for rows in (slice(0, 2), slice(2, 3)):
        numbers = torch.arange(rows.start, rows.stop)
        state.take_match(rows, torch.full((len(numbers), *SHAPE), 2.0), Match(
            torch.zeros(len(numbers), *SHAPE), 1.0 + numbers, 0.5 * numbers, numbers, numbers + 1, numbers))
        assert state.matched == rows.stop
    state.close_update()
    record = state.measured(sigma=3.0, scale=0.25)
    assert record == AlignedStep(sigma=3.0, mean_error=0.125, residual_before=[1, 2, 3], residual_after=[0, 0.5, 1],
                                 iterations=[0, 1, 2], forwards=[1, 2, 3], backwards=[0, 1, 2], spread=0.0, norm=0.5,
                                 mean_count=7)
    state.close_step(record, torch.ones(2, *SHAPE))
    assert (state.step, state.update, state.matched, state.tally, state.records) == (1, 0, 0, {}, [record])
    state.take_target(torch.ones(5), 0.25)
    assert state.measured(1.0, 1.0).mean_count == 2, "later means are over those that are carried"
    state.keep(torch.ones(1, *SHAPE))
    assert state.kept and not state.finished and len(state.latents) == 1
    state.close()
    state.seconds = 1.5
    found = state.report({"count": 7})
    assert state.finished and found.steps == [record] and found.settings == {"count": 7} and found.seconds == 1.5
    assert isinstance(found, AlignmentReport) and found.steps is not state.records


def test_spread_and_norm_are_in_units_of_the_norm_of_noise():
    rows = torch.randn(40, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    spread, norm = spread_and_norm(moments_of(rows), scale=0.5)
    flat = rows.flatten(1)
    assert norm == pytest.approx(0.5 * (flat.square().sum(1).mean() / 18).sqrt().item())
    assert spread == pytest.approx(0.5 * ((flat - flat.mean(0)).square().sum(1).mean() / 18).sqrt().item())
    large = torch.randn(4000, 4, 16, generator=torch.Generator().manual_seed(1))
    assert spread_and_norm(moments_of(large)) == pytest.approx((1, 1), rel=0.01)


def test_resume_with_few_carried_latents():
    settings = AlignmentSettings(count=40, aligned_steps=2, keep=1, seed=3, carried=4, solver=Adam(iterations=20))
    reference = align(LinearGaussian(), sigmas(), SHAPE, settings, batch=BatchSize(2))
    for tensors, meta in saves_of(settings, LinearGaussian()):
        resumed = align(LinearGaussian(), sigmas(), SHAPE, settings, batch=BatchSize(2),
                        state=State.unpacked(*copied(tensors, meta)))
        torch.testing.assert_close(resumed.latents, reference.latents, rtol=0, atol=0)


def test_resume_goes_on_with_the_latents_that_were_drawn():
    settings = AlignmentSettings(count=200, aligned_steps=2, keep=2, seed=3, mean_error=0.15, own_noise=0.5, carried=5,
                                 solver=LBFGS(iterations=4))
    memory = Memory()
    reference = align(Biased(), sigmas(), SHAPE, settings, batch=BatchSize(2),
                      watchers=[Checkpoint(memory, seconds=-1)])
    assert 5 < reference.report.steps[0].mean_count < 200
    for tensors, meta in memory.saves:
        resumed = align(Biased(), sigmas(), SHAPE, settings, batch=BatchSize(2),
                        state=State.unpacked(*copied(tensors, meta)))
        torch.testing.assert_close(resumed.latents, reference.latents, rtol=0, atol=0)
        assert resumed.report.steps == reference.report.steps


@pytest.mark.parametrize("after", [1, 3])
def test_a_first_mean_that_was_interrupted_goes_on_where_it_was(after):
    settings = AlignmentSettings(count=40, aligned_steps=1, keep=1, carried=2, seed=3, solver=LBFGS(iterations=5))
    whole = align(Biased(), sigmas(), SHAPE, settings, batch=BatchSize(8))
    denoiser = Biased()
    saves = saves_of(settings, denoiser, size=8)
    state = State.unpacked(*copied(*saves[after - 1]))
    assert state.latents is None and state.drawn.count == state.features.count == 8 * after
    again = Biased()
    found = align(again, sigmas(), SHAPE, settings, batch=BatchSize(8), state=state)
    assert torch.equal(found.latents, whole.latents) and found.report.steps == whole.report.steps
    assert again.feature_rows == denoiser.feature_rows - 8 * after


@pytest.mark.parametrize("size", [16, 40])
def test_a_first_mean_that_was_taken_elsewhere_is_gone_on_from(size):
    """In batches of whole blocks both are sums over the same rows. Their order is another, and features of another
    batch size may be rounded otherwise, which is seen in the last bits of single precision."""
    settings = AlignmentSettings(count=40, aligned_steps=2, keep=2, carried=3, own_noise=0.4, seed=3,
                                 solver=LBFGS(iterations=5))
    start = Noise(40, SHAPE, 3)
    values = first_features(Biased(), sigma=sigmas()[0].item(), start=start)
    trees = {"features": MomentTree(), "latents": MomentTree()}
    for first in range(0, 40, size):
        for name, found in values(slice(first, min(first + size, 40))).items():
            trees[name].update(found)
    state = State.of_first_mean(trees["features"].moments(), trees["latents"].moments())
    denoiser, reference = Biased(), Biased()
    expected = align(reference, sigmas(), SHAPE, settings, batch=BatchSize(16))
    found = align(denoiser, sigmas(), SHAPE, settings, batch=BatchSize(16), state=state)
    torch.testing.assert_close(found.latents, expected.latents, rtol=1e-5, atol=1e-5)
    assert found.report.steps[0].mean_error == pytest.approx(expected.report.steps[0].mean_error, rel=1e-6)
    assert denoiser.feature_rows == reference.feature_rows - 40 and found.report.steps[0].mean_count == 40


class Predicting(LinearGaussian):
    """Counts the latents that it predicts."""

    predicted = 0

    def denoise(self, x, sigma):
        self.predicted += len(x)
        return super().denoise(x, sigma)


@pytest.mark.parametrize("aligned_steps, restored", [(2, 0.0), (2, 0.5), (0, 0.0)])
def test_latents_that_are_kept_are_gone_on_with_after_each_step_and_given_their_noise_once(aligned_steps, restored):
    """Eight steps, of which those that are not aligned are plain."""
    settings = AlignmentSettings(count=9, aligned_steps=aligned_steps, keep=3, seed=3, restored_noise=restored,
                                 solver=LBFGS(iterations=4))
    whole, memory = Predicting(), Memory()
    reference = align(whole, sigmas(), SHAPE, settings, batch=BatchSize(2),
                      watchers=[Checkpoint(memory, seconds=-1)])
    kept = [save for save in memory.saves if save[1]["kept"]]
    assert [meta["step"] for _, meta in kept] == [*range(aligned_steps, 9), 8]
    for tensors, meta in kept:
        denoiser = Predicting()
        found = align(denoiser, sigmas(), SHAPE, settings, batch=BatchSize(2),
                      state=State.unpacked(*copied(tensors, meta)))
        assert torch.equal(found.latents, reference.latents) and found.report.steps == reference.report.steps
        assert denoiser.predicted == 3 * (8 - meta["step"])


def test_a_state_that_an_earlier_version_saved_before_the_plain_steps_leads_to_the_same_end():
    settings = AlignmentSettings(count=9, aligned_steps=2, keep=3, seed=3, restored_noise=0.5,
                                 solver=LBFGS(iterations=4))
    memory = Memory()
    reference = align(LinearGaussian(), sigmas(), SHAPE, settings, watchers=[Checkpoint(memory, seconds=-1)])
    tensors, meta = [save for save in memory.saves if not save[1]["kept"]][-1]
    assert meta["step"] == 2
    for finished, latents in ((False, tensors["latents"]), (True, reference.latents)):
        earlier = {name: value for name, value in meta.items() if name != "kept"} | {"finished": finished}
        found = align(LinearGaussian(), sigmas(), SHAPE, settings,
                      state=State.unpacked(*copied({**tensors, "latents": latents}, earlier)))
        assert torch.equal(found.latents, reference.latents)
