"""How long work is run: loops and who watches them, micro-batches, progress, states on disk."""
from ._batching import BatchSize, batch_of, choose_batch, is_out_of_memory, split_at_multiples
from ._checkpoint import RunState, distance_of_answers, run_key, saved_states
from ._cleaning import clean_states
from ._loop import Checkpoint, Resumable, SavedState, Watcher, drive, result_of, resumed, retold
from ._progress import Clock, Event, Iteration, PassMonitor, Progress, seconds_for

__all__ = [
    "BatchSize", "Checkpoint", "Clock", "Event", "Iteration", "PassMonitor", "Progress", "Resumable", "RunState",
    "SavedState", "Watcher", "batch_of", "choose_batch", "clean_states", "distance_of_answers", "drive",
    "is_out_of_memory", "result_of", "resumed", "retold", "run_key", "saved_states", "seconds_for",
    "split_at_multiples",
]
