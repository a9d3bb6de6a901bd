"""The modes of a concept: principal components, a Gaussian mixture and k-means."""
from ._clusters import Clusters, Share, check_count, cluster, fitting
from ._pca import principal_components
from ._settings import COVARIANCES, K_MEANS, METHODS, MIXTURE, SMALL_CLUSTERS, ClusterSettings

__all__ = [
    "COVARIANCES", "K_MEANS", "METHODS", "MIXTURE", "SMALL_CLUSTERS", "ClusterSettings", "Clusters", "Share",
    "check_count", "cluster", "fitting", "principal_components",
]
