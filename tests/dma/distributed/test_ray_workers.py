"""Workers on a real Ray: the same bits as of one process, and nothing lost with a worker but its running blocks."""
import functools
import os
import signal
import time
from dataclasses import replace

import pytest
import torch
from memory import Memory
from ray_toys import FEATURES, breaking, failing, greeting, repeating, short_of_memory, sources, telling
from toys import Biased, LinearGaussian, sigmas

from mental_averages.dma.alignment import AlignmentSettings, State, align
from mental_averages.dma.diffusion import NotFiniteError, spread
from mental_averages.dma.distributed import RayWorkers, WorkersLost, map_moments
from mental_averages.dma.distributed._ray_workers import AHEAD_EACH, importing_this
from mental_averages.dma.execution import BatchSize, Checkpoint, drive, resumed
from mental_averages.dma.mean_shift import MeanShiftSettings, MeanShiftState, mean_shift
from mental_averages.dma.models import read_features
from mental_averages.dma.solvers import Adam

SHAPE = (2, 3, 3)
PAPER = AlignmentSettings(count=9, aligned_steps=2, keep=2, seed=3, target_updates=2,
                          solver=Adam(learning_rate=0.05, iterations=20))


@pytest.mark.parametrize("size", [2, 5, 16])
@pytest.mark.parametrize("settings", [PAPER, replace(PAPER, count=70, carried=3, own_noise=0.3, mean_error=0.2)])
def test_alignment_is_that_of_one_process_to_the_last_bit(workers, settings, size):
    """The paper's recipe, every latent matched where it is sent, and a first mean that stops at its error."""
    here, there = (align(denoiser, sigmas(), SHAPE, settings, batch=BatchSize(size))
                   for denoiser in (Biased(), workers.denoiser("biased")))
    assert torch.equal(there.latents, here.latents) and there.report.steps == here.report.steps
    assert settings is PAPER or here.report.steps[0].mean_count < 70


@pytest.mark.parametrize("size", [3, 8])
@pytest.mark.parametrize("mean_error", [0.0, 0.1])
def test_mean_shift_is_that_of_one_process_to_the_last_bit(workers, size, mean_error):
    settings = MeanShiftSettings(count=40, averaged_steps=3, seed=2, mean_error=mean_error)
    here = mean_shift(LinearGaussian(), sigmas(), SHAPE, settings, averaging=LinearGaussian(variance=1.0),
                      batch=BatchSize(size))
    there = mean_shift(workers.denoiser(), sigmas(), SHAPE, settings, averaging=workers.denoiser("wide"),
                       batch=BatchSize(size))
    assert torch.equal(there.latents, here.latents) and torch.equal(there.spread, here.spread)
    assert there.report.levels == here.report.levels


def test_both_workers_take_blocks_and_results_come_in_the_order_of_rows(workers):
    latents = torch.arange(24.0)
    task = functools.partial(telling, seconds=0.1)
    found = list(spread(workers.denoiser(), BatchSize(2), 23, task, first=3, latents=latents))
    assert [rows for rows, _ in found] == [slice(start, min(start + 2, 23)) for start in range(3, 23, 2)]
    assert all(rows == told and torch.equal(own, latents[rows]) for rows, (_, told, own) in found)
    assert {process for _, (process, _, _) in found} == set(workers.processes())


def test_no_more_is_given_out_than_is_soon_taken(workers, tmp_path):
    task = functools.partial(telling, folder=tmp_path)
    blocks = spread(workers.denoiser(), BatchSize(1), 1000, task)
    next(blocks)
    time.sleep(1)
    begun = {int(path.name.split(".")[0]) for path in tmp_path.iterdir()}
    assert len(begun) <= 2 * AHEAD_EACH + 1 and max(begun) <= 2 * AHEAD_EACH + 1
    blocks.close()
    assert [rows.start for rows, _ in spread(workers.denoiser(), BatchSize(1), 3, task)] == [0, 1, 2]


@pytest.mark.parametrize("closed", [False, True])
def test_what_is_left_of_an_earlier_pass_is_not_taken_for_the_next_one(workers, closed):
    """A traceback keeps an interrupted loop alive, whose blocks have the numbers of the next one's."""
    denoiser, latents, task = workers.denoiser(), torch.arange(30.0), functools.partial(telling, seconds=0.02)
    earlier = spread(denoiser, BatchSize(1), 30, task, latents=latents)
    next(earlier)
    blocks = spread(denoiser, BatchSize(1), 30, task, latents=-latents)
    found = [next(blocks)]
    if closed:
        earlier.close()
    else:
        with pytest.raises(RuntimeError, match="given other work"):
            next(earlier)
    found += blocks
    assert torch.equal(torch.cat([own for _, (_, _, own) in found]), -latents)


def test_a_batch_that_does_not_fit_is_halved_where_it_is_too_large(workers):
    found = list(spread(workers.denoiser(), BatchSize(4), 10, short_of_memory))
    assert [rows for rows, _ in found] == [slice(row, row + 1) for row in range(10)]


def test_errors_are_those_of_the_task(workers):
    # Whichever of the rows that fail is heard of first ends the work.
    with pytest.raises(ArithmeticError, match=r"^row \d+ is too large$"):
        list(spread(workers.denoiser(), BatchSize(2), 100, breaking))
    nan = torch.full((1, *SHAPE), float("nan"))
    with pytest.raises(NotFiniteError, match="The features at noise level 2 contain NaN"):
        list(read_features(workers.denoiser(), nan, 2.0))
    assert len(list(spread(workers.denoiser(), BatchSize(2), 8, telling))) == 4


@pytest.mark.parametrize("after", [0, 3])
def test_a_worker_that_is_killed_costs_its_running_blocks_and_nothing_else(ray, tmp_path, after):
    with RayWorkers(sources, 2) as crew:
        first = crew.processes()
        blocks = spread(crew.denoiser(), BatchSize(2), 40, functools.partial(telling, seconds=0.05, folder=tmp_path))
        found = [next(blocks) for _ in range(after + 1)]
        os.kill(first[0], signal.SIGKILL)
        found += list(blocks)
        assert [rows for rows, _ in found] == [slice(start, start + 2) for start in range(0, 40, 2)]
        begun = [path.name.split(".")[0] for path in tmp_path.iterdir()]
        assert len(set(begun)) == 20 and 20 <= len(begun) <= 22  # at most those that it held, again
        second = crew.processes()
        assert len(second) == 2 and first[0] not in second and first[1] in second and crew.losses == 7


def test_the_mean_is_the_same_with_a_worker_lost_on_the_way(ray):
    with RayWorkers(sources, 2) as crew:
        trees = {}
        for event in map_moments(crew.denoiser(), FEATURES, 0, 200, batch=BatchSize(16), trees=trees):
            if event.row == 48:
                os.kill(crew.processes()[1], signal.SIGKILL)
    expected = drive(map_moments(LinearGaussian(), FEATURES, 0, 200, batch=BatchSize(16)), None)
    assert all(torch.equal(trees[name].moments().mean, tree.moments().mean) for name, tree in expected.items())


def test_workers_that_go_on_being_lost_are_given_up(ray):
    with RayWorkers(sources, 1, losses=0) as crew:
        os.kill(crew.processes()[0], signal.SIGKILL)
        with pytest.raises(WorkersLost, match="none is replaced any more"):
            list(spread(crew.denoiser(), BatchSize(2), 8, telling))


def test_workers_that_have_been_ended_are_not_begun_again(ray):
    with RayWorkers(sources, 1) as crew:
        denoiser = crew.denoiser()
    with pytest.raises(RuntimeError, match="have been ended"):
        denoiser.denoise(torch.zeros(1, *SHAPE), 1.0)


def test_one_that_is_replaced_while_it_lives_is_ended(ray):
    """As where it cannot be reached for a while: its place, a card perhaps, is the next one's."""
    with RayWorkers(sources, 1) as crew:
        (before,), lost = crew.processes(), crew.hired[0]
        assert crew._replaced(lost, RuntimeError("it cannot be reached")) == []
        assert crew.processes() != [before]
        with pytest.raises(ray.exceptions.RayActorError):
            ray.get(lost.actor.process.remote())


def test_a_source_that_fails_is_told_at_once(ray):
    with RayWorkers(failing, 1) as crew, pytest.raises(WorkersLost, match="there is no such checkpoint"):
        crew.denoiser()


class Stopped(KeyboardInterrupt):
    pass


@pytest.mark.parametrize("kind, state", [("align", State), ("mean_shift", MeanShiftState)])
@pytest.mark.parametrize("after", [2, 9])
def test_an_interrupted_run_goes_on_with_any_number_of_workers(workers, kind, state, after):
    """Stopped with two workers, and gone on with in this process."""
    def run(denoiser, place, watchers=()):
        found = resumed(state.unpacked, place)
        choices = {"batch": BatchSize(4), "watchers": [Checkpoint(place, seconds=-1), *watchers], "state": found}
        if kind == "align":
            return align(denoiser, sigmas(), SHAPE, PAPER, **choices)
        return mean_shift(denoiser, sigmas(), SHAPE, MeanShiftSettings(count=22, averaged_steps=3), **choices)

    events = []

    def stop(event, _):
        events.append(event)
        if len(events) == after:
            raise Stopped

    place = Memory()
    with pytest.raises(Stopped):
        run(workers.denoiser("biased"), place, [stop])
    assert place.saves
    assert torch.equal(run(Biased(), place).latents, run(Biased(), Memory()).latents)


def test_workers_of_a_ray_that_runs_have_the_environment_that_they_are_given(ray):
    with RayWorkers(greeting, 1, runtime_env={"env_vars": {"GREETING": "hello"}}) as crew:
        assert list(crew.over(BatchSize(1), 1, repeating)) == [(slice(0, 1), "hello")]


def test_workers_that_there_is_no_room_for_are_said(ray, caplog):
    with RayWorkers(sources, 2, cpus=0, resources={"unheard of": 1}) as crew:
        assert len(crew.hired) == 2
    assert "2 workers are to have 1 unheard of each, but this Ray has 0 in all" in caplog.text
    assert "CPU" not in caplog.text


def test_what_workers_are_is_said(ray):
    with pytest.raises(ValueError, match="at least one worker"):
        RayWorkers(sources, 0)
    with pytest.raises(ValueError, match="part of another package"):
        importing_this()
