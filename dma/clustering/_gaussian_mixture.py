"""Fitting a Gaussian mixture, and the densities of its components."""
from __future__ import annotations

import warnings
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..execution import Iteration
from ._settings import ClusterSettings

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture

MOST_ITERATIONS = 500


def fit_mixture(coordinates: Tensor, count: int,
                settings: ClusterSettings) -> Generator[Iteration, None, GaussianMixture]:
    """A mixture of `count` Gaussians fitted to rows (N, d), the likeliest of `settings.restarts` starts; tells of
    each start.

    It is the one that scikit-learn finds with as many starts, to the last bit: they draw from one generator in turn.
    """
    import numpy as np
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    generator, best = np.random.RandomState(settings.seed), None
    for start in range(settings.restarts):
        # One thread, because the order in which several add up is not fixed; others may work between two starts.
        with threadpool_limits(limits=1), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture: Any = GaussianMixture(count, covariance_type=settings.covariance, max_iter=MOST_ITERATIONS,
                                           reg_covar=settings.regularisation, random_state=generator)
            mixture.fit(coordinates.numpy())
        if best is None or mixture.lower_bound_ > best.lower_bound_:
            best = mixture
        yield Iteration(start + 1, settings.restarts)
    assert best is not None
    if not best.converged_:
        warnings.warn(f"A mixture of {count} Gaussians has not converged after {MOST_ITERATIONS} iterations.",
                      ConvergenceWarning, stacklevel=2)
    return best


def log_densities(mixture: GaussianMixture, coordinates: Tensor) -> Tensor:
    """Log density (N, components) of rows (N, d) under each Gaussian, without its weight."""
    import numpy as np

    means, covariances = np.asarray(mixture.means_), np.asarray(mixture.covariances_)
    count, dimensions = means.shape
    if mixture.covariance_type == "tied":
        covariances = np.broadcast_to(covariances, (count, dimensions, dimensions)).copy()
    elif mixture.covariance_type == "diag":
        covariances = covariances[:, :, None] * np.eye(dimensions)
    elif mixture.covariance_type == "spherical":
        covariances = covariances[:, None, None] * np.eye(dimensions)
    gaussians = torch.distributions.MultivariateNormal(torch.from_numpy(means), torch.from_numpy(covariances))
    return gaussians.log_prob(coordinates[:, None])
