import dataclasses
import math

import pytest
import torch
from memory import Memory, copied
from toys import Biased, LinearGaussian, sigmas

from mental_averages.dma.alignment import AlignmentSettings, Monitor, State, align
from mental_averages.dma.execution import BatchSize, Checkpoint
from mental_averages.dma.solvers import LBFGS, Adam

SHAPE = (2, 3, 3)
SETTINGS = AlignmentSettings(count=60, aligned_steps=2, keep=2, carried=3, seed=3,
                             solver=LBFGS(iterations=30, tolerance=1e-8))


def test_progress_rises_to_one():
    fractions = []
    settings = AlignmentSettings(count=9, aligned_steps=2, keep=2, seed=3, solver=Adam(iterations=5))
    align(LinearGaussian(), sigmas(), SHAPE, settings, batch=BatchSize(2),
          watchers=[Monitor(lambda event: fractions.append(event.fraction), settings, sigmas())])
    assert fractions == sorted(fractions) and fractions[-1] == pytest.approx(1.0) and fractions[0] < 0.1


def test_progress_rises_to_one_with_few_carried_latents():
    settings = AlignmentSettings(count=40, aligned_steps=2, keep=1, seed=3, carried=4, solver=Adam(iterations=20))
    fractions = []
    align(LinearGaussian(), sigmas(), SHAPE, settings, batch=BatchSize(2),
          watchers=[Monitor(lambda event: fractions.append(event.fraction), settings, sigmas())])
    assert fractions == sorted(fractions) and fractions[-1] == pytest.approx(1.0)


def test_progress_rises_to_one_when_fewer_are_averaged_than_planned():
    events = []
    settings = dataclasses.replace(SETTINGS, count=400, mean_error=0.11)
    align(Biased(), sigmas(), SHAPE, settings, batch=BatchSize(5),
          watchers=[Monitor(events.append, settings, sigmas())])
    fractions = [event.fraction for event in events]
    assert fractions == sorted(fractions) and fractions[-1] == pytest.approx(1.0) and fractions[0] < 0.1


def test_a_resumed_run_knows_the_time_left_at_once():
    memory, events = Memory(), []
    settings = dataclasses.replace(SETTINGS, aligned_steps=3, carried=0, solver=LBFGS(iterations=4))
    align(LinearGaussian(), sigmas(), SHAPE, settings, batch=BatchSize(20),
          watchers=[Checkpoint(memory, seconds=-1), Monitor(lambda event: None, settings, sigmas())])
    tensors, meta = next(save for save in memory.saves if save[1]["step"] == 1 and save[1]["matched"])
    align(LinearGaussian(), sigmas(), SHAPE, settings, batch=BatchSize(20),
          state=State.unpacked(*copied(tensors, meta)), watchers=[Monitor(events.append, settings, sigmas())])
    assert events[0].seconds_left is not None and 0 <= events[0].seconds_left <= meta["seconds_left"] + 1e-6


def test_a_run_that_is_gone_on_with_while_its_latents_are_finished_shows_what_is_behind_it():
    settings, memory, whole, rest = dataclasses.replace(SETTINGS, count=20), Memory(), [], []
    align(LinearGaussian(), sigmas(), SHAPE, settings, batch=BatchSize(1),
          watchers=[Checkpoint(memory, seconds=-1), Monitor(whole.append, settings, sigmas())])
    save = next(save for save in memory.saves if save[1]["step"] == 5)
    align(LinearGaussian(), sigmas(), SHAPE, settings, batch=BatchSize(1), state=State.unpacked(*copied(*save)),
          watchers=[Monitor(rest.append, settings, sigmas())])
    assert len(rest) == 2 * 3
    assert [progress.fraction for progress in rest] == [progress.fraction for progress in whole[-6:]]


def test_its_lines_tell_what_is_done():
    told, settings = [], dataclasses.replace(SETTINGS, count=20)
    align(LinearGaussian(), sigmas(4), SHAPE, settings, batch=BatchSize(10),
          watchers=[Monitor(told.append, settings, sigmas(4))])
    under_way = [progress.message for progress in told if "iteration" in progress.message]
    lines = [progress.message.split(", ")[0] for progress in told if progress.message not in under_way]
    assert lines == ["aligned step 1 of 2: averaging features"] * 2 + [
        "aligned step 1 of 2: matching the mean", "aligned step 1 of 2: matched 3 of 3",
        "aligned step 1 of 2: stepping all latents",
        "aligned step 2 of 2: averaging features", "aligned step 2 of 2: matching the mean",
        "aligned step 2 of 2: matched 3 of 3", "aligned step 2 of 2: stepping all latents",
        "sampling the finished latents", "sampling the finished latents"]
    assert told[1].message.startswith("aligned step 1 of 2: averaging features, error 0.")
    assert under_way[0].startswith("aligned step 1 of 2: matched 0 of 3, iteration 1 of the next, residual ")


def test_the_first_latent_is_shown_while_latents_are_matched():
    settings, shown, denoiser = dataclasses.replace(SETTINGS, aligned_steps=1), [], LinearGaussian()

    def tell(progress):
        if "matched" in progress.message:
            shown.append(progress.preview)
        monitor.last_preview = -math.inf if len(shown) < 2 else math.inf  # as if much time had passed, or none

    monitor = Monitor(tell, settings, sigmas(), denoiser=denoiser)
    latents = []
    align(denoiser, sigmas(), SHAPE, settings, batch=BatchSize(1), watchers=[
        lambda event, state: latents.append(state.first_latent.clone()) if event.kind == "match" else None, monitor])
    assert len(shown) == len(latents) > 3 and not any(preview is not None for preview in shown[2:])
    for latent, preview in zip(latents[:2], shown[:2]):
        assert torch.equal(preview, denoiser.denoise(latent, sigmas()[0].item()))


def test_without_a_denoiser_it_shows_what_predictions_give_for_nothing():
    settings, told = dataclasses.replace(SETTINGS, aligned_steps=1), []
    monitor = Monitor(told.append, settings, sigmas())
    monitor.last_preview = -math.inf
    align(LinearGaussian(), sigmas(), SHAPE, settings, watchers=[monitor])
    shown = {progress.message.split(":")[-1].split(",")[0].strip() for progress in told if progress.preview is not None}
    assert shown == {"stepping all latents", "sampling the finished latents"}


def test_the_first_mean_is_shown_as_soon_as_it_is_there():
    settings, denoiser, told = dataclasses.replace(SETTINGS, aligned_steps=2), LinearGaussian(), []
    monitor = Monitor(told.append, settings, sigmas(), denoiser=denoiser)
    monitor.last_preview = math.inf  # as if no time had passed
    latents = []
    align(denoiser, sigmas(), SHAPE, settings, watchers=[
        lambda event, state: latents.append(state.latents[:1].clone()) if event.kind == "target" else None, monitor])
    targets = [progress for progress in told if progress.message.endswith("matching the mean")]
    assert torch.equal(targets[0].preview, denoiser.denoise(latents[0], sigmas()[0].item()))
    assert len(targets) == 2 and targets[1].preview is None
