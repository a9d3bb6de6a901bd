import math

import pytest
import torch
from blobs import blobs

from mental_averages.dma import clustering
from mental_averages.dma.clustering import ClusterSettings, cluster
from mental_averages.dma.clustering._gaussian_mixture import MOST_ITERATIONS, fit_mixture, log_densities
from mental_averages.dma.execution import result_of


def test_bic_is_the_formula():
    """BIC = p ln N - 2 ln L for one spherical Gaussian in d dimensions: p = d + 1, L by hand."""
    values, _ = blobs((25,))
    found = cluster(values, ClusterSettings(1, 1, dimensions=3, covariance="spherical", regularisation=1e-6))
    count, d = found.coordinates.shape
    variance = found.coordinates.square().mean().item() + 1e-6
    likelihood = (-0.5 * count * d * math.log(2 * math.pi * variance)
                  - 0.5 * found.coordinates.square().sum().item() / variance)
    assert found.bic[0][1] == pytest.approx((d + 1) * math.log(count) - 2 * likelihood)


@pytest.mark.parametrize("covariance", clustering.COVARIANCES)
def test_densities_are_those_that_the_library_mixes(covariance):
    """log sum_c w_c N(x; c) is scikit-learn's own log density of the mixture, whatever the form of its covariances."""
    values, _ = blobs((12, 18), dimensions=3, separation=4.0)
    mixture = result_of(fit_mixture(values.double(), 2, ClusterSettings(2, 2, covariance=covariance, restarts=1)))
    joint = log_densities(mixture, values.double()) + torch.from_numpy(mixture.weights_).log()
    torch.testing.assert_close(joint.logsumexp(1), torch.from_numpy(mixture.score_samples(values.double().numpy())))


def test_a_single_picture_is_no_component_of_endless_density():
    values = torch.cat([torch.zeros(9, 2), torch.ones(1, 2)]).double()
    mixture = result_of(fit_mixture(values, 2, ClusterSettings(2, 2, regularisation=0.5)))
    assert mixture.covariances_.min() >= 0.5 and log_densities(mixture, values).max() < 0


def test_starts_that_are_told_of_find_what_scikit_learn_finds_with_as_many():
    from sklearn.mixture import GaussianMixture

    values = torch.randn(60, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    for covariance in ("diag", "full"):
        settings = ClusterSettings(4, 4, covariance=covariance, restarts=6, seed=5)
        theirs = GaussianMixture(4, covariance_type=covariance, n_init=6, max_iter=MOST_ITERATIONS, random_state=5,
                                 reg_covar=settings.regularisation).fit(values.numpy())
        ours = result_of(fit_mixture(values, 4, settings))
        for name in ("weights_", "means_", "covariances_"):
            assert (getattr(ours, name) == getattr(theirs, name)).all()
        assert [start.iteration for start in fit_mixture(values, 4, settings)] == [1, 2, 3, 4, 5, 6]
