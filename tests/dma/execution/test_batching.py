import pytest
import torch

from mental_averages.dma import execution
from mental_averages.dma.execution import BatchSize, batch_of, choose_batch, is_out_of_memory


def test_out_of_memory_with_one_latent_is_an_error():
    size = execution.BatchSize(4)
    with pytest.raises(torch.OutOfMemoryError):
        list(size.over(8, lambda rows: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory"))))
    assert size.value == 1


def test_other_errors_are_not_taken_for_memory():
    with pytest.raises(RuntimeError, match="shape"):
        list(execution.BatchSize(4).over(8, lambda rows: (_ for _ in ()).throw(RuntimeError("shape mismatch"))))


def test_a_batch_that_does_not_fit_is_halved_and_nothing_is_done_twice():
    size, done = BatchSize(8), []

    def work(rows):
        if rows.stop - rows.start > 3:
            raise MemoryError
        done.extend(range(rows.start, rows.stop))
        return rows.start

    found = [(rows.start, rows.stop, result) for rows, result in size.over(11, work, first=2)]
    assert found == [(2, 4, 2), (4, 6, 4), (6, 8, 6), (8, 10, 8), (10, 11, 10)]
    assert done == list(range(2, 11)) and size.value == 2, "the size that fits is kept"


def test_nothing_left_is_no_call():
    assert list(BatchSize(4).over(3, lambda rows: pytest.fail("it was called"), first=3)) == []


@pytest.mark.parametrize("error, out_of_memory", [
    (torch.OutOfMemoryError("anything"), True), (MemoryError(), True),
    (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB."), True),
    (RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"), True),
    (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."), True),
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
    (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"), True),
    (RuntimeError("level_zero backend failed with error: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)"), True),
    (RuntimeError("level_zero backend failed with error: 38 (UR_RESULT_ERROR_OUT_OF_HOST_MEMORY)"), True),
    (RuntimeError("Could not allocate tensor with 234881024 bytes. There is not enough GPU video memory available!"),
     True),
    (RuntimeError("Invalid buffer size: 16.00 GiB"), True),
    (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(handle)`"), False),
    (RuntimeError("shape mismatch"), False), (ValueError("out of memory"), False)])
def test_what_is_out_of_memory(error, out_of_memory):
    assert is_out_of_memory(error) == out_of_memory


def test_a_size_that_was_asked_for():
    assert batch_of(0) is None and batch_of(3) == BatchSize(3)
    with pytest.raises(ValueError, match="batch_size is -1: use 0 for automatic, or a positive number"):
        batch_of(-1)


@pytest.mark.parametrize("shape, size", [((4, 8, 8), 64), ((4, 64, 64), 4), ((4, 128, 128), 1), ((16, 256, 256), 1),
                                         ((1, 1, 1), 64), ((2, 0, 3), 64)])
def test_a_first_guess_goes_by_the_size_of_latents(shape, size):
    assert choose_batch(None, shape) == BatchSize(size)


def test_the_batch_that_was_given_is_the_one_that_gets_smaller():
    given = BatchSize(7)
    assert choose_batch(given, (4, 8, 8)) is given


def test_work_that_tells_of_itself_is_halved_too_and_begins_with_the_size_that_is_asked_for():
    size, done = BatchSize(8), []

    def work(rows):
        yield rows.start, rows.stop
        if rows.stop - rows.start > 4:
            raise MemoryError
        done.extend(range(rows.start, rows.stop))

    told = list(size.through(11, work, first=2, size=3))
    assert told == [(2, 5), (5, 11), (5, 8), (8, 11)] and done == list(range(2, 11)) and size.value == 3
    with pytest.raises(MemoryError):
        list(BatchSize(1).through(2, lambda rows: (_ for _ in ()).throw(MemoryError())))


def test_a_first_slice_that_is_larger_than_the_batch_never_makes_it_larger():
    """One that a run was interrupted in may be of a time when more memory was free, or was asked for."""
    size, told = BatchSize(2), []

    def work(rows):
        told.append((rows.start, rows.stop))
        if rows.stop - rows.start > 4:
            raise MemoryError
        yield

    assert len(list(size.through(10, work, size=8))) == 5 and size.value == 2
    assert told == [(0, 8), (0, 2), (2, 4), (4, 6), (6, 8), (8, 10)]
