import math

import pytest
import torch
from hypothesis import given, settings, strategies as st

from mental_averages.dma import figures, interpolation
from mental_averages.dma.interpolation import (
    InterpolationReport,
    LatentStatisticsReport,
    interpolate,
    interpolation_report,
    measure_noise_bias,
)

BIAS = torch.tensor([0.15, -0.1, 0.05, 0.0])


def biased(count, seed=0, shape=(4, 16, 16)):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed)) + BIAS[:, None, None]


@settings(max_examples=8, deadline=None)
@given(st.integers(2, 40), st.integers(0, 1000))
def test_numbers_of_a_batch_are_those_of_their_definitions(count, seed):
    latents = biased(count, seed)
    found, values = measure_noise_bias(latents, subsets=2), latents.double()
    mean = values.mean(0)
    torch.testing.assert_close(torch.tensor(found.norms).double(), values.flatten(1).norm(dim=1) / 32, rtol=1e-6,
                               atol=0)
    per_latent = values.mean(dim=(2, 3))
    torch.testing.assert_close(torch.tensor(found.channel_means).double(), per_latent.mean(0), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(torch.tensor(found.standard_errors).double(), per_latent.std(0) / math.sqrt(count),
                               rtol=1e-5, atol=1e-7)
    assert found.amplification == pytest.approx((32 / mean.norm()).item(), rel=1e-6)
    assert found.amplification == pytest.approx(found.centroid_amplification[-1], rel=1e-6)
    assert found.independent_inputs == pytest.approx(
        (values.flatten(1).square().sum(1).mean() / mean.square().sum()).item(), rel=1e-6)
    assert found.counts[-1] == count and found.counts[0] == 1


def test_standard_errors_cover_the_bias():
    found = measure_noise_bias(biased(200), subsets=1)
    for mean, error, bias in zip(found.channel_means, found.standard_errors, BIAS.tolist()):
        assert abs(mean - bias) < 4 * error and 0.5 < error / (1 / math.sqrt(200 * 256)) < 2
    assert found.common_energy == pytest.approx(BIAS.square().mean().item(), abs=4 * math.sqrt(2 / 1024) / 200 + 1e-3)


def test_common_energy_is_unbiased_where_there_is_none():
    found = torch.tensor([interpolation.common_energy(torch.randn(4, 4, 8, 8,
                                                                      generator=torch.Generator().manual_seed(seed)))
                          for seed in range(400)])
    assert abs(found.mean()) < 4 * found.std() / 20 and (found < 0).any()


def test_channel_means_of_centroids_grow_with_the_square_root_of_their_number():
    latents, counts = biased(64, shape=(4, 32, 32)), [1, 2, 4, 8, 16, 32]
    growth = interpolation.channel_mean_growth(latents, counts, subsets=64, seed=0)
    assert [len(means) for means in growth.channel_means] == [64] * 6
    saturated = [1 / math.sqrt(BIAS.square().mean().item() + 1 / count) for count in counts]
    for averaged, alpha, factors in zip(growth.averaged, saturated, growth.amplification):
        torch.testing.assert_close(averaged, alpha * BIAS.double(), rtol=0, atol=0.03 * alpha)
        assert factors.mean().item() == pytest.approx(alpha, rel=0.05)
    _, fit = interpolation.square_root_fit(counts, growth.averaged)
    assert fit > 0.9
    adjusted = interpolation.channel_mean_growth(latents, counts, subsets=64, seed=0, mean_adjustment="channel")
    torch.testing.assert_close(adjusted.averaged[-1], BIAS.double(), rtol=0, atol=0.02)
    again = interpolation.channel_mean_growth(latents, counts, subsets=64, seed=0)
    assert torch.equal(again.averaged, growth.averaged)


def test_the_fit_tells_the_law_from_another():
    counts = [1, 2, 4, 8, 16]
    slopes = torch.tensor([0.3, -0.2], dtype=torch.float64)
    roots = torch.tensor(counts, dtype=torch.float64).sqrt()[:, None]
    found, fit = interpolation.square_root_fit(counts, roots * slopes)
    torch.testing.assert_close(found, slopes)
    assert fit == pytest.approx(1)
    assert interpolation.square_root_fit(counts, roots**4 * slopes)[1] < 0.9
    assert math.isnan(interpolation.square_root_fit([1], torch.ones(1, 2))[1])


def test_one_latent_and_bad_input():
    single = measure_noise_bias(biased(1))
    assert single.counts == [1] and single.standard_errors == [None] * 4 and single.square_root_fit is None
    assert single.independent_inputs == pytest.approx(1) and "+-" not in single.summary()
    assert figures.plot_latent_statistics(single, width=512).shape[2] == 512
    with pytest.raises(ValueError, match="Latent 2 is all zero"):
        measure_noise_bias(torch.cat([biased(1), torch.zeros(1, 4, 16, 16)]))
    with pytest.raises(ValueError, match="batch is empty"):
        measure_noise_bias(torch.zeros(0, 4, 8, 8))
    with pytest.raises(ValueError, match="there are 4 latents"):
        interpolation.channel_mean_growth(biased(4), [1, 8], 2, 0)


def test_offsets_move_two_channels_of_the_top_quarter():
    latents = biased(2)
    before = latents.clone()
    moved = interpolation.offset_channels(latents, 0.4)
    difference = (moved - latents).double()
    assert torch.equal(latents, before) and moved.dtype == torch.float32
    torch.testing.assert_close(difference[:, 0, :4], torch.full((2, 4, 16), -0.4).double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(difference[:, 1, :4], torch.full((2, 4, 16), 0.4).double(), rtol=0, atol=1e-6)
    assert not difference[:, :, 4:].any() and not difference[:, 2:].any() and abs(difference.mean()) < 1e-7
    assert torch.equal(interpolation.offset_channels(latents, 0.0), latents)
    assert (interpolation.offset_channels(latents, 1.0, 2, 3, share=0.0)
            != latents).any(dim=3).any(dim=1)[0].tolist() == [True] + [False] * 15
    for channels in ((0, 4), (-1, 0), (1, 1)):
        with pytest.raises(ValueError, match="channels 0 to 3"):
            interpolation.offset_channels(latents, 0.1, *channels)


def test_reports_are_read_back_and_plotted():
    latents, rows = biased(3), torch.tensor([[1.0, 0.0, 0.0], [0.2, 0.3, 0.5]])
    for adjustment, width in (("channel", math.inf), ("low_pass", 2.0)):
        mixture = interpolate(latents, rows, "restored_variance", adjustment, width)
        report = interpolation_report(latents, mixture, "restored_variance", adjustment, width)
        assert InterpolationReport.from_json(report.to_json()) == report and "Infinity" not in report.to_json()
        assert report.effective_inputs == pytest.approx([1, 1 / (0.04 + 0.09 + 0.25)])
        assert (report.amplification[0] == pytest.approx(1)
                and report.output_norms[0] == pytest.approx(report.input_norms[0]))
        picture = figures.plot_interpolation(report, width=640)
        assert picture.shape[0] == 1 and picture.shape[2:] == (640, 3) and 0 <= picture.min() < 0.5 < picture.max() <= 1
    statistics = measure_noise_bias(biased(6))
    assert LatentStatisticsReport.from_json(statistics.to_json()) == statistics
    assert "6 latents of 4 x 16 x 16" in statistics.summary()
    assert figures.plot_latent_statistics(statistics, width=640).shape[2] == 640


@pytest.mark.parametrize("kind", [InterpolationReport, LatentStatisticsReport])
def test_other_files_are_refused(kind):
    written = measure_noise_bias(biased(2)).to_json()
    for text, message in (("{", "not JSON"), ("[]", "is not a report"), ('{"format": "other"}', "is not a report")):
        with pytest.raises(ValueError, match=message):
            kind.from_json(text)
    if kind is LatentStatisticsReport:
        with pytest.raises(ValueError, match="format version 9"):
            kind.from_json(written.replace('"version": 1', '"version": 9'))
        with pytest.raises(ValueError, match="damaged"):
            kind.from_json(written.replace('"norms"', '"norm"'))
