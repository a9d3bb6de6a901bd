"""Fitting a Gaussian mixture, and the densities of its components."""
from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ._settings import ClusterSettings

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture

MOST_ITERATIONS = 500


def fit_mixture(coordinates: Tensor, count: int, settings: ClusterSettings) -> GaussianMixture:
    """A mixture of `count` Gaussians fitted to rows (N, d), the likeliest of `settings.restarts` starts."""
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(count, covariance_type=settings.covariance, n_init=settings.restarts,
                              max_iter=MOST_ITERATIONS, reg_covar=settings.regularisation, random_state=settings.seed)
    return mixture.fit(coordinates.numpy())


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
