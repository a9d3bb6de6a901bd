"""Sparsity and heavy tails against cases that are known."""
import pytest
import torch

from mental_averages.dma.representation import participation, specialised, tail_scores, varying


def normal(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("active", [1, 3, 12])
def test_participation_is_the_share_of_equal_channels(active):
    values = torch.zeros(12)
    values[:active] = -2.5
    assert participation(values).item() == pytest.approx(active / 12)
    assert participation(values * 1e-3).item() == pytest.approx(active / 12)


def test_participation_of_gaussian_channels_is_two_over_pi():
    assert participation(normal(200, 500)).mean().item() == pytest.approx(2 / torch.pi, abs=0.003)


def test_participation_of_nothing_is_not_a_number():
    assert participation(torch.zeros(2, 5)).isnan().all()


@pytest.mark.parametrize("count", [20, 60, 400])
def test_tail_scores_are_those_of_scipy(count):
    from scipy.stats import kurtosistest

    for values in (normal(count, 40), normal(count, 40) ** 3, torch.rand(count, 10, dtype=torch.float64)):
        expected = torch.from_numpy(kurtosistest(values.numpy(), axis=0).statistic)
        torch.testing.assert_close(tail_scores(values), expected)


@pytest.mark.parametrize("count", [20, 200])
def test_one_percent_of_gaussian_channels_is_specialised_by_chance(count):
    share = specialised(normal(count, 20000)).double().mean().item()
    assert 0.006 < share < 0.016


def test_channels_that_few_pictures_switch_on_are_specialised():
    values = normal(60, 3)
    values[:, 0] = 0.01 * values[:, 0]
    values[[4, 31], 0] = 5.0  # on for two pictures
    values[:, 1] = (torch.arange(60) % 2).double() + 0.01 * values[:, 1]  # on for half of them: light tails
    assert specialised(values).tolist() == [True, False, False]


def test_channels_that_do_not_vary_are_not_specialised():
    values = normal(30, 2).float()
    values[:, 1] = 7.0
    values[3, 1] = 7.0 + 1e-6  # rounding
    assert varying(values).tolist() == [True, False] and not specialised(values)[1]


def test_too_few_pictures_are_refused():
    with pytest.raises(ValueError, match="from 19 pictures: at least 20"):
        tail_scores(normal(19, 3))


def test_channels_with_nan_are_not_taken_for_unspecialised():
    with pytest.raises(ValueError, match="must be finite"):
        specialised(torch.full((30, 4), torch.nan))
