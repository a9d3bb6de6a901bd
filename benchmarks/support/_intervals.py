"""Means with 95 % bootstrap intervals, as numbers and in words."""
from __future__ import annotations

import math

import numpy as np


def interval(values: np.ndarray, draws: int = 2000) -> tuple[float, float, float]:
    """Mean of independent values and its 95 % bootstrap interval, over concepts."""
    generator = np.random.default_rng(0)
    values = np.asarray(values, dtype=float)
    means = values[generator.integers(0, len(values), (draws, len(values)))].mean(axis=1)
    return float(values.mean()), float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def with_interval(values: np.ndarray) -> str:
    """The mean of independent values of one sign, with its interval."""
    mean, low, high = interval(values)
    digits = 3 if math.isnan(mean) or abs(mean) < 10 else 1
    return f"{mean:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"
