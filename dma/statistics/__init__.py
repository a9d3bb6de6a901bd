"""Streamed moments, effective counts, intervals and standard errors."""
from ._effective_count import effective_count, effective_count_of_sums
from ._intervals import bootstrap_interval, jackknife_error, leave_one_out, wilson_interval
from ._moments import RunningMoments

__all__ = [
    "RunningMoments", "bootstrap_interval", "effective_count", "effective_count_of_sums", "jackknife_error",
    "leave_one_out", "wilson_interval",
]
