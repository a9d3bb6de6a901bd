"""How long work is run: micro-batches, progress, states on disk."""
from ._batching import BatchSize, is_out_of_memory
from ._checkpoint import RunState, SavedState, clean_states, run_key
from ._progress import Pace, Progress

__all__ = ["BatchSize", "Pace", "Progress", "RunState", "SavedState", "clean_states", "is_out_of_memory", "run_key"]
