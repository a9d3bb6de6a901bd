import pytest
import torch

from mental_averages.dma.distributed._worker import Worker


def test_a_task_is_prepared_once_in_a_pass_for_the_denoiser_of_its_name():
    prepared = []

    def task(denoiser):
        prepared.append(denoiser)
        return lambda rows, latents: (denoiser, latents.sum())

    worker = Worker(lambda: {"": "plain", "other": "another"}, torch.get_num_threads())
    latents = torch.arange(10.0)
    found = worker.work_on(1, (task, "other"), 2, 4, 7, latents[4:7])
    assert [(start, stop, total.item()) for start, stop, (_, total) in found] == [(4, 6, 9), (6, 7, 6)]
    assert worker.work_on(1, None, 2, 0, 2, latents[:2]) == [(0, 2, ("another", 1))]
    assert prepared == ["another"]
    assert worker.work_on(2, (task, ""), 8, 0, 2, latents[:2]) == [(0, 2, ("plain", 1))]


def test_a_batch_that_did_not_fit_is_not_tried_again():
    asked = []

    def task(denoiser):
        def work(rows):
            asked.append(rows.stop - rows.start)
            if asked[-1] > 2:
                raise MemoryError
            return rows.start

        return work

    worker = Worker(lambda: None, torch.get_num_threads())
    assert worker.work_on(1, (task, ""), 8, 0, 8, None) == [(0, 2, 0), (2, 4, 2), (4, 6, 4), (6, 8, 6)]
    assert asked[:2] == [8, 4]
    asked.clear()
    worker.work_on(1, None, 8, 8, 12, None)
    worker.work_on(2, (task, ""), 8, 0, 4, None)
    assert asked == [2, 2, 2, 2]


def test_other_tasks_keep_their_batch():
    """One that takes less memory, and one that was asked for fewer rows before."""
    def small(denoiser):
        def work(rows):
            if rows.stop - rows.start > 2:
                raise MemoryError
            return rows.stop - rows.start

        return work

    def large(denoiser):
        return lambda rows: rows.stop - rows.start

    worker = Worker(lambda: None, torch.get_num_threads())
    sizes = [[size for _, _, size in worker.work_on(number, (task, ""), asked, 0, 8, None)]
             for number, (task, asked) in enumerate([(small, 4), (large, 1), (large, 8), (small, 8)], 1)]
    assert sizes == [[2] * 4, [1] * 8, [8], [2] * 4]


@pytest.mark.parametrize("source", [lambda: "alone", lambda: {"": "plain", "averaging": "another"}])
def test_a_name_that_the_source_does_not_have_is_refused(source):
    """Another Denoiser in its place, at another guidance, would give another average without a word."""
    worker = Worker(source, torch.get_num_threads())
    with pytest.raises(ValueError, match="There is no Denoiser called 'averagin'"):
        worker.work_on(1, (lambda denoiser: lambda rows: denoiser, "averagin"), 1, 0, 1, None)
