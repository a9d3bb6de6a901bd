import functools

import pytest
import torch

from mental_averages.dma.diffusion import is_spread, spread, work_here
from mental_averages.dma.execution import BatchSize


def adding(denoiser, *, number):
    denoiser.append("begun")
    return lambda rows, latents=None: (list(range(rows.start, rows.stop)), latents, number)


TASK = functools.partial(adding, number=3)


@pytest.mark.parametrize("first", [0, 3])
def test_rows_are_worked_on_in_their_order_each_with_its_latents(first):
    denoiser, latents = [], torch.arange(5.0)
    found = list(spread(denoiser, BatchSize(2), 5, TASK, first=first, latents=latents))
    numbers = [row for _, (rows, _, _) in found for row in rows]
    assert numbers == list(range(first, 5)) and denoiser == ["begun"]
    assert torch.equal(torch.cat([own for _, (_, own, _) in found]), latents[first:])
    assert [rows for rows, _ in found] == ([slice(0, 2), slice(2, 4), slice(4, 5)] if not first
                                           else [slice(3, 5)])


def test_without_latents_there_are_only_rows():
    assert [found for _, found in spread([], BatchSize(4), 5, TASK)] == [([0, 1, 2, 3], None, 3), ([4], None, 3)]


def test_some_latents_are_counted_from_the_first_of_them():
    part = torch.arange(10.0, 14.0)
    found = list(work_here([], BatchSize(3), 14, TASK, 10, part, before=10))
    assert [(rows, own.tolist()) for rows, (_, own, _) in found] == [(slice(10, 13), [10, 11, 12]),
                                                                     (slice(13, 14), [13])]


def test_a_batch_that_runs_out_of_memory_is_halved():
    def needing(denoiser):
        def need(rows, latents):
            if len(latents) > 1:
                raise MemoryError
            return latents

        return need

    batch = BatchSize(4)
    found = torch.cat([own for _, own in spread(None, batch, 3, needing, latents=torch.arange(3.0))])
    assert torch.equal(found, torch.arange(3.0)) and batch.value == 1


def test_workers_behind_a_denoiser_are_given_the_work():
    class Spread:
        def over(self, batch, total, task, first, latents):
            return iter([(batch.value, total, task, first, latents)])

    latents = torch.zeros(9)
    assert is_spread(Spread()) and not is_spread([])
    assert list(spread(Spread(), BatchSize(2), 9, TASK, first=4, latents=latents)) == [(2, 9, TASK, 4, latents)]
