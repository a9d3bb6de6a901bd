import pytest

from mental_averages.dma.clustering import ClusterSettings


@pytest.mark.parametrize("change", [dict(smallest_count=0), dict(smallest_count=5, largest_count=4), dict(dimensions=0),
                                    dict(variance_share=1.5), dict(covariance="round"), dict(restarts=0),
                                    dict(minimum_size=0), dict(small_clusters="eat"), dict(regularisation=0.0)])
def test_bad_settings(change):
    with pytest.raises(ValueError):
        ClusterSettings(**change)


def test_choices_are_named():
    with pytest.raises(ValueError, match="no covariance 'round': choose one of diag, full, tied, spherical"):
        ClusterSettings(covariance="round")
    with pytest.raises(ValueError, match="no way with small clusters 'eat': choose one of merge, leave out"):
        ClusterSettings(small_clusters="eat")
