"""Averages on one and on two workers of Ray: whether they are the same, how much faster two are, and 64 on paper.

Each worker has a core and a thread of its own. `efficiency_2` is the time of one worker over twice that of two; for the
mean of features, a level of mean shift, and the matches of an alignment. What a pass costs, in bytes and in seconds, is
then laid out over more workers than there are here, with results that come to one driver over one network: a
simulation, whose assumptions are in `_simulation.py`. It is made for workers like the one here, and for cards that are
`--faster` times as fast, for which all else costs what it costs here.
"""
from __future__ import annotations

import functools
import os
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from _counted import Counted, CountingDenoiser
from _network import SHAPE, RandomUnet, doing_nothing
from _simulation import Costs, efficiency, what_breaks_first
from support import fill_in, median_seconds, parse_arguments, print_table, timed, write_figures

import pack

SIGMAS = torch.tensor([10.0, 3.0, 1.0, 0.3, 0.0])
MEAN, SHIFT, RECIPE = "mean", "mean shift", "recipe of the paper"
# Blocks of a pass on paper: 100,000 rows of a mean, by 16; 1,000 rows of a level and 500 latents, by `batch`.
ROWS_ON_PAPER = {MEAN: 100_000, SHIFT: 1000, RECIPE: 500}
WORKERS = (8, 16, 32, 64)
SEED = 1


def jobs(rows: int, batch: int) -> dict[str, Callable[[Any], torch.Tensor]]:
    """What is timed, by name: each a function of a Denoiser that gives a tensor to compare."""
    from mental_averages.dma import alignment, mean_shift
    from mental_averages.dma.distributed import map_moments
    from mental_averages.dma.execution import BatchSize, drive
    from mental_averages.dma.solvers import Adam

    start = alignment.Noise(rows, SHAPE, SEED)
    values = functools.partial(alignment.first_features, sigma=SIGMAS[0].item(), start=start)

    def mean(denoiser: Any) -> torch.Tensor:
        return drive(map_moments(denoiser, values, 0, rows, batch=BatchSize(batch)), None)["features"].moments().mean

    def shift(denoiser: Any) -> torch.Tensor:
        settings = mean_shift.MeanShiftSettings(count=rows // 8, averaged_steps=1, seed=SEED)
        return mean_shift.mean_shift(denoiser, SIGMAS[-3:], SHAPE, settings, batch=BatchSize(batch)).mean

    def match(denoiser: Any) -> torch.Tensor:
        settings = alignment.AlignmentSettings(count=rows // 16, aligned_steps=1, keep=1, seed=SEED,
                                               solver=Adam(iterations=4, tolerance=0.0))
        return alignment.align(denoiser, SIGMAS[-3:], SHAPE, settings, batch=BatchSize(batch)).latents

    return {MEAN: mean, SHIFT: shift, RECIPE: match}


def dearest_passes(denoiser: Any, work: dict) -> dict[str, Counted]:
    """Of each job the pass that takes longest: the mean, a level, the matches of a step."""
    found = {}
    for name, function in work.items():
        counting = CountingDenoiser(denoiser)
        function(counting)
        found[name] = max(counting.passes, key=lambda each: sum(each.seconds))
    return found


def seconds_to_begin(denoiser: Any) -> float:
    """How long a pass takes in which there is nothing to do."""
    from mental_averages.dma.diffusion import spread
    from mental_averages.dma.execution import BatchSize

    return median_seconds(lambda: list(spread(denoiser, BatchSize(1), 1, doing_nothing)), 20)


def costs_of(counted: Counted, told: float, scatter: float) -> Costs:
    return Costs(seconds=statistics.median(counted.seconds), sent=statistics.mean(counted.sent),
                 received=statistics.mean(counted.received), held=counted.held, taken=statistics.median(counted.taken),
                 told=told, scatter=scatter)


def scatter_of(seconds: list[float]) -> float:
    """The standard deviation of blocks' seconds, beside their mean; the first one warms up and is left out."""
    return statistics.pstdev(seconds[1:]) / statistics.mean(seconds[1:])


def print_on_paper(passes: dict[str, Counted], told: float, batch: int, faster: float) -> dict[str, float]:
    """The table of the simulation; gives its figures."""
    figures, lines = {}, []
    scatter = scatter_of(passes[MEAN].seconds)  # the pass that has most blocks
    for name, counted in passes.items():
        here, size = costs_of(counted, told, scatter), 16 * -(-batch // 16) if name == MEAN else batch
        blocks = -(-ROWS_ON_PAPER[name] // size)
        for kind, costs in (("a core", here), ("a card", replace(here, seconds=here.seconds / faster))):
            gained = {count: efficiency(costs, blocks, count) for count in WORKERS}
            lines.append([f"{name}, {ROWS_ON_PAPER[name]:,} rows", kind, f"{1000 * costs.seconds:,.0f} ms",
                          f"{costs.bytes_of(blocks, WORKERS[-1]) / 1e6:,.0f} MB",
                          *(f"{value:.2f}" for value in gained.values()),
                          what_breaks_first(costs, blocks, WORKERS[-1])])
            key = f"{name} {kind[2:]}".replace(" ", "_")
            figures |= {f"simulated_{key}_{count}": value for count, value in gained.items()}
        figures[f"bytes_of_a_block_{name.replace(' ', '_')}"] = here.sent + here.received
    print_table(["pass", "worker", "a block", "bytes, 64 workers", *(f"{count} workers" for count in WORKERS),
                 "what breaks first at 64"], lines)
    print(f"\nA pass begins after {1000 * told:.1f} ms, and blocks take {100 * scatter:.0f} % more or less than their "
          f"mean. A card is taken to be {faster:g} times as fast as the core here.\n")
    return figures | {"scatter": scatter}


def main() -> None:
    arguments = parse_arguments(__doc__.splitlines()[0], rows=dict(type=int, help="rows of the mean"),
                                width=dict(type=int, help="channels of the network"),
                                batch=dict(type=int, default=4, help="latents per model call"),
                                faster=dict(type=float, default=50.0, help="how much faster a card is, on paper"))
    fill_in(arguments, rows=(256, 64), width=(64, 32))
    if not pack.find_ray():
        raise SystemExit("Ray is not installed: python tools/run_benchmark.py --ray scale installs it.")
    os.environ.setdefault("RAY_worker_niceness", "0")  # workers are compared with this process
    import ray

    from mental_averages.dma.distributed import RayWorkers

    torch.set_num_threads(1)
    source = RandomUnet(arguments.width)
    here, work = source(), jobs(arguments.rows, arguments.batch)
    warming = jobs(8 * arguments.batch, arguments.batch)
    passes = dearest_passes(here, jobs(128, arguments.batch))  # small ones, which warm up this process, too
    places = (Path(__file__).parent, pack.ROOT / "tools", os.environ.get("PYTHONPATH"))
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="warning", runtime_env={
        "env_vars": {"PYTHONPATH": os.pathsep.join(str(place) for place in places if place)},
        "worker_process_setup_hook": "pack.load_pack"})
    seconds: dict[tuple[str, int], float] = {}
    found, told = {}, 0.0
    for count in (0, 1, 2):  # 0: in this process
        crew = RayWorkers(source, count) if count else None
        denoiser = crew.denoiser() if crew else here
        if crew:
            crew.processes()  # which have built their networks then
            for function in warming.values():
                function(denoiser)
        for name, function in work.items():
            seconds[name, count], found[name, count] = timed(function, denoiser)
        if crew:
            told = seconds_to_begin(denoiser)
            crew.close()
    ray.shutdown()
    equal = all(torch.equal(found[name, 0], found[name, count]) for name in work for count in (1, 2))
    gained = {name: seconds[name, 1] / (2 * seconds[name, 2]) for name in work}
    print_table(["work", "this process, s", "1 worker, s", "2 workers, s", "efficiency of 2"],
                [[name, *(f"{seconds[name, count]:.2f}" for count in (0, 1, 2)), f"{gained[name]:.2f}"]
                 for name in work])
    print(f"\nThe results of all are {'the same to the last bit' if equal else 'NOT the same'}.\n")
    simulated = print_on_paper(passes, told, arguments.batch, arguments.faster)
    write_figures({"equal": float(equal), "efficiency_2": min(gained.values()),
                   **{f"efficiency_2_{name.replace(' ', '_')}": value for name, value in gained.items()},
                   "overhead_1": max(seconds[name, 1] / seconds[name, 0] for name in work), "seconds_to_begin": told,
                   **simulated}, arguments.json)


if __name__ == "__main__":
    main()
