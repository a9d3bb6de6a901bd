import pytest
import torch
from pictures import check_picture
from reports import saved

from mental_averages.dma.figures import plot_latent_statistics

SINGLE = dict(norms=[1.0], standard_errors=[None, None], common_energy=None, counts=[1], centroid_means=[[0.15, -0.05]],
              centroid_deviations=[[0.0, 0.0]], centroid_amplification=[1.0], square_root_fit=None)
MANY_CHANNELS = dict(channel_means=[0.01 * channel for channel in range(16)], standard_errors=[0.01] * 16,
                     centroid_means=[[0.01 * channel for channel in range(16)]] * 2,
                     centroid_deviations=[[0.0] * 16] * 2, square_root_slopes=[0.01] * 16)


@pytest.mark.parametrize("changes", [{}, SINGLE, MANY_CHANNELS, dict(common_energy=-0.1)])
def test_plot(changes):
    check_picture(plot_latent_statistics(saved("latent_statistics", **changes), width=640), 640)


@pytest.mark.parametrize("changes", [SINGLE, MANY_CHANNELS, dict(square_root_fit=0.2), dict(norms=[0.9, 1.05]),
                                     dict(centroid_amplification=[1.0, 1.4]), dict(standard_errors=[0.02, 0.06])])
def test_other_reports_look_different(changes):
    assert not torch.equal(plot_latent_statistics(saved("latent_statistics")),
                           plot_latent_statistics(saved("latent_statistics", **changes)))


def test_nothing_to_plot():
    with pytest.raises(ValueError, match="no latents"):
        plot_latent_statistics(saved("latent_statistics", norms=[]))
