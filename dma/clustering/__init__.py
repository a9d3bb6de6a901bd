"""The modes of a concept: principal components and a Gaussian mixture."""
from ._clusters import Clusters, Share, check_count, cluster
from ._pca import principal_components
from ._settings import COVARIANCES, SMALL_CLUSTERS, ClusterSettings

__all__ = [
    "COVARIANCES", "SMALL_CLUSTERS", "ClusterSettings", "Clusters", "Share", "check_count",
    "cluster", "principal_components",
]
