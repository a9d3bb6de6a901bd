"""Workers on Ray: actors that build their Denoisers once and take blocks of rows, in whatever order they are done."""
from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from torch import Tensor

from ..diffusion import Task
from ..execution import BatchSize
from ._imported_ray import imported_ray
from ._remote_denoiser import RemoteDenoiser
from ._worker import ONLY, Worker

Result = TypeVar("Result")
# Blocks that a worker holds: one that it works on and one that waits, so that it never waits itself.
BLOCKS_EACH = 2
# Blocks that may be done before the one that is waited for, for each worker; they lie in Ray's memory.
AHEAD_EACH = 4


class WorkersLost(RuntimeError):
    """More workers were lost than are replaced, or none could be made."""


@dataclass(eq=False)
class Hired:
    """A worker and what it was given: by reference, the first row of each block."""

    actor: Any
    starting: Any  # the reference of its first answer; None once it is there
    blocks: dict[Any, int] = field(default_factory=dict)


class RayWorkers:
    """`count` workers with a Denoiser each, for `dma.diffusion.spread`.

    source: called once in every worker; gives its Denoiser, or several by name. It is sent by pickle: a function of a
    module, a class such as `PipelineSource`, or a `functools.partial` of one.
    cpus, gpus, resources: what a worker is to have for itself, in Ray's words. threads: of torch; as many as cpus.
    losses: how many workers may be lost, to a machine that goes down or is out of memory, before it is given up. Each
    is replaced, and its blocks are given to others; what was done is not done again.
    address: of a Ray that runs, as `ray.init` takes it; without, that of RAY_ADDRESS, or the last one that `ray start`
    has started on this machine, or a new one. Where `ray.init` has been called before, it is that Ray.
    runtime_env: how the processes of workers are made, in Ray's words. Without, those of a Ray that is joined or
    started here import this very package from where it lies here, so that machines share the folder or have it
    installed; within another package, such as ComfyUI's, it has to be said.

    It is a context that ends its workers, and the Ray that it has started. Raises ImportError where Ray is missing.
    """

    def __init__(self, source: Callable[[], Any], count: int, *, cpus: float = 1, gpus: float = 0,
                 resources: Mapping[str, float] | None = None, threads: int | None = None, losses: int = 8,
                 address: str | None = None, runtime_env: Mapping[str, Any] | None = None):
        if count < 1:
            raise ValueError(f"count is {count}: there must be at least one worker.")
        self.ray = imported_ray()
        self.own = not self.ray.is_initialized()
        if self.own:
            self.ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level="warning",
                          runtime_env=dict(runtime_env or importing_this()))
        self.losses, self.passes = losses, 0
        self.source, self.threads = source, threads or max(1, int(cpus))
        self.kind = self.ray.remote(Worker).options(num_cpus=cpus, num_gpus=gpus, resources=dict(resources or {}),
                                                    scheduling_strategy="SPREAD",
                                                    **{} if self.own or not runtime_env else
                                                    {"runtime_env": dict(runtime_env)})
        self._look_for_room(count, {"CPU": cpus, "GPU": gpus, **(resources or {})})
        self.hired = [self._new() for _ in range(count)]

    def denoiser(self, name: str = ONLY) -> RemoteDenoiser:
        """The Denoiser of that name, of which every worker has one: methods take it like any other, and `align` and
        `mean_shift` spread their work on the workers by it."""
        return RemoteDenoiser(self, name)

    def processes(self) -> list[int]:
        """The number of each worker's process, on its machine; of all workers that are there."""
        return self.ray.get([each.actor.process.remote() for each in self.hired])

    def over(self, batch: BatchSize, total: int, task: Task[Result], first: int = 0, latents: Tensor | None = None, *,
             name: str = ONLY) -> Iterator[tuple[slice, Result]]:
        """What a task gives for the rows `first` ... `total`, block by block in their order: see `diffusion.spread`.

        A block is a micro-batch as one process would take it. The next ones are given out only as results are taken.
        What the task raises is raised here. One pass is under way at a time: what is left of an earlier one is
        forgotten, and whoever asks that one for more is refused by a RuntimeError, as is whoever asks workers that have
        been ended.
        """
        if not self.hired:
            # Ray itself would begin anew where it has been shut down.
            raise RuntimeError("These workers have been ended: use their Denoiser inside the context of RayWorkers.")
        self.passes += 1
        number = self.passes
        self._forget()
        held = self.ray.put((task, name))
        size, done = batch.value, {}
        coming, again, reached = range(first, total, size), deque[int](), first
        given = iter(coming)
        following = next(given, None)
        try:
            while reached < total:
                if reached in done:
                    for start, stop, result in done.pop(reached):
                        yield slice(start, stop), result
                        if self.passes != number:
                            raise RuntimeError("These workers were given other work before this was at its end: take "
                                               "all results of one pass before the next one, or use other workers.")
                    reached = min(reached + size, total)
                    continue
                for each in self.hired:
                    while each.starting is None and len(each.blocks) < BLOCKS_EACH:
                        if again:
                            block = again.popleft()
                        elif following is not None and following < reached + AHEAD_EACH * len(self.hired) * size:
                            block, following = following, next(given, None)
                        else:
                            break
                        stop = min(block + size, total)
                        own = None if latents is None else latents[block:stop].detach().cpu().clone()
                        each.blocks[each.actor.work.remote(number, [held], size, block, stop, own)] = block
                again.extend(sorted(self._heard(done)))
        finally:
            if self.passes == number:
                self._forget()

    def _heard(self, done: dict[int, list]) -> list[int]:
        """Wait until workers have something to say, and take all of it, so that none is left unheard beside a quicker
        one; gives the blocks that were lost."""
        errors = self.ray.exceptions
        speakers = {reference: each for each in self.hired
                    for reference in (*([] if each.starting is None else [each.starting]), *each.blocks)}
        self.ray.wait(list(speakers), num_returns=1)
        ready, _ = self.ray.wait(list(speakers), num_returns=len(speakers), timeout=0)
        gone: dict[Hired, Exception] = {}
        for reference in ready:
            speaker = speakers[reference]
            try:
                found = self.ray.get(reference)
            except (errors.RayActorError, errors.OutOfMemoryError, errors.ObjectLostError) as error:
                gone[speaker] = error  # the last two: ended by Ray where memory is short, and results gone with it
                continue
            except errors.RayTaskError as error:
                raise (error.cause if isinstance(error.cause, Exception) else error) from None
            if reference == speaker.starting:
                speaker.starting = None
            else:
                done[speaker.blocks.pop(reference)] = found
        return [block for speaker, error in gone.items() for block in self._replaced(speaker, error)]

    def _look_for_room(self, count: int, needs: Mapping[str, float]) -> None:
        """Say what workers will wait for: a cluster that grows may come to have it, another never does."""
        present = self.ray.cluster_resources()
        for name, each in needs.items():
            if count * each > present.get(name, 0):
                logging.warning("%d workers are to have %g %s each, but this Ray has %g in all: those that find none "
                                "wait for it.", count, each, name, present.get(name, 0))

    def _new(self) -> Hired:
        actor = self.kind.remote(self.source, self.threads)
        return Hired(actor, actor.process.remote())

    def _replaced(self, lost: Hired, error: Exception) -> list[int]:
        """Take another worker for one that is lost; gives the blocks that it held."""
        if getattr(error, "actor_init_failed", False):
            raise WorkersLost(f"A worker could not make its Denoiser: {error}") from error
        if not self.losses:
            raise WorkersLost("A worker was lost, and none is replaced any more: look whether the machines have "
                              f"enough memory for all workers ({error}).") from error
        self.losses -= 1
        logging.warning("A worker was lost and is replaced, its %d blocks are done again (%s).", len(lost.blocks),
                        str(error).splitlines()[0])
        # One that only cannot be reached, or whose results are gone, may live on and keep what its place needs.
        self.ray.kill(lost.actor)
        self.hired[self.hired.index(lost)] = self._new()
        return list(lost.blocks.values())

    def _forget(self) -> None:
        """Nobody waits for what was given out: what has not begun does not begin any more."""
        for each in self.hired:
            for reference in each.blocks:
                self.ray.cancel(reference, recursive=False)
            each.blocks.clear()

    def close(self) -> None:
        """End the workers, and the Ray that was started for them."""
        for each in self.hired:
            self.ray.kill(each.actor)
        self.hired = []
        if self.own:
            self.ray.shutdown()

    def __enter__(self) -> RayWorkers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()


def importing_this() -> dict[str, Any]:
    """The runtime_env of processes that find this package where it lies, and whatever is found by PYTHONPATH."""
    if __name__.split(".")[0] != "dma":
        raise ValueError("dma is a part of another package here, which workers cannot import: say by runtime_env how "
                         "they can.")
    places = (str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH"))
    return {"env_vars": {"PYTHONPATH": os.pathsep.join(place for place in places if place)}}
