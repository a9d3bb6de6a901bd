"""Means with 95 % bootstrap intervals, as numbers and in words."""
from __future__ import annotations

import math

import numpy as np

from mental_averages.dma.statistics import bootstrap_interval


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean of independent values and its 95 % bootstrap interval, over concepts."""
    return (float(np.mean(np.asarray(values, dtype=float))), *bootstrap_interval(values))


def with_interval(values: np.ndarray) -> str:
    """The mean of independent values, with its interval."""
    mean, low, high = interval(values)
    digits = 3 if math.isnan(mean) or abs(mean) < 10 else 1
    return f"{mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
