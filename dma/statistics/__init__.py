"""Streamed moments, intervals and standard errors."""
from ._intervals import jackknife_error, leave_one_out, wilson_interval
from ._moments import RunningMoments

__all__ = ["RunningMoments", "jackknife_error", "leave_one_out", "wilson_interval"]
