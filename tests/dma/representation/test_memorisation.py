"""Scores of memorisation against closed forms, and what they must not depend on."""
import math
from dataclasses import replace

import pytest
import torch

from mental_averages.dma.diffusion import NotFiniteError, Parametrization, denoised_from_output
from mental_averages.dma.execution import BatchSize
from mental_averages.dma.representation import (
    MAXIMUM,
    Reading,
    Representation,
    channel_means,
    channel_scores,
    fit,
    guidance_difference,
    reading_noise,
    scores_by_prompts,
)

SHAPE = (2, 4, 3)


def representation(means, layer="a", **changes):
    levels = means.shape[1]
    found = Representation(means, layer, tuple(range(levels, 0, -1)), 1, 0, MAXIMUM, (4, 8, 8), torch.ones(levels, 4))
    return replace(found, **changes)


def rows(*values):
    return torch.tensor(values)[:, None]  # (N, 1, C)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_scores_of_features_that_are_known():
    found = channel_scores([representation(rows([1.0, -1.0, 1.0, -1.0], [0.0, 0.0, 8.0, 0.0], [5.0, 5.0, 5.0, 5.0],
                                                [0.0, 0.0, 0.0, 0.0]))])
    assert found["deviation"].tolist() == pytest.approx([1.0, 8 * math.sqrt(3) / 4, 0.0, 0.0])
    assert found["norm"].tolist() == pytest.approx([2.0, 8.0, 10.0, 0.0])
    assert found["spikiness"].tolist() == pytest.approx([4**-0.25, 1.0, 4**-0.25, 0.0])
    assert all(scores.dtype == torch.float64 and scores.shape == (4,) for scores in found.values())


def test_scores_are_those_of_torch_and_numpy():
    import numpy as np

    means = normal(5, 2, 30)
    found = channel_scores([representation(means)])
    values = means.double().numpy()
    np.testing.assert_allclose(found["deviation"], values.std(2).mean(1))
    np.testing.assert_allclose(found["norm"], np.linalg.norm(values, axis=2).mean(1))
    spikiness = torch.linalg.vector_norm(means.double(), 4, 2) / torch.linalg.vector_norm(means.double(), 2, 2)
    torch.testing.assert_close(found["spikiness"], spikiness.mean(1))


def test_what_the_scores_do_not_depend_on():
    means = normal(6, 2, 12)
    plain, order = channel_scores([representation(means)]), torch.randperm(12)
    for changed in (means[:, :, order], -means, means[:, [1, 0]]):
        for name, scores in channel_scores([representation(changed)]).items():
            torch.testing.assert_close(scores, plain[name])
    larger, shifted = (channel_scores([representation(changed)]) for changed in (3 * means, means + 100))
    torch.testing.assert_close(larger["deviation"], 3 * plain["deviation"])
    torch.testing.assert_close(larger["norm"], 3 * plain["norm"])
    torch.testing.assert_close(larger["spikiness"], plain["spikiness"])
    torch.testing.assert_close(shifted["deviation"], plain["deviation"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_very_small_and_large_features_are_not_lost(scale):
    found = channel_scores([representation(scale * rows([1.0, 2.0, 2.0]))])
    assert found["norm"].item() == pytest.approx(3 * scale) and found["spikiness"].item() == pytest.approx(33**0.25 / 3)


def test_a_picture_is_scored_by_itself_and_layers_count_alike_in_any_order():
    one, other = representation(normal(5, 2, 8)), representation(normal(5, 2, 20, seed=1), "b")
    both, reverse = channel_scores([one, other]), channel_scores([other, one])
    for name in both:
        assert torch.equal(both[name], reverse[name])
        torch.testing.assert_close(both[name], (channel_scores([one])[name] + channel_scores([other])[name]) / 2)
        torch.testing.assert_close(channel_scores([one.of([3, 1]), other.of([3, 1])])[name], both[name][[3, 1]])


def test_one_channel_that_holds_all_is_spikier_than_many():
    balanced, spiky = torch.full((1, 1, 100), 0.1), torch.zeros(1, 1, 100)
    spiky[..., 7] = 1.0  # of the same norm
    found = channel_scores([representation(torch.cat([balanced, spiky]))])
    assert found["norm"].tolist() == pytest.approx([1.0, 1.0], rel=1e-6)
    assert found["deviation"][1] > found["deviation"][0] and found["spikiness"][1] > found["spikiness"][0]


NAN = representation(torch.full((2, 1, 3), torch.nan))


@pytest.mark.parametrize("representations, message", [
    ([], "no layer"), ([NAN], "layer a contain NaN"),
    ([representation(torch.ones(2, 1, 3))] * 2, "judged once, but these are a, a"),
    ([representation(torch.ones(2, 1, 3, 2, 2), pooling="2x2")], "pooling 2x2"),
    ([representation(torch.ones(2, 1, 3)), representation(torch.ones(3, 1, 3), "b")], "a and b were read of other"),
    ([representation(torch.ones(2, 1, 3)), representation(torch.ones(2, 1, 3), "b", sigmas=(9.0,))], "noise levels"),
    ([representation(torch.ones(2, 1, 3)), representation(torch.ones(2, 1, 3), "b", pooling="mean")], "pooling")])
def test_what_has_no_score_is_refused(representations, message):
    with pytest.raises(ValueError, match=message):
        channel_scores(representations)


class Linear:
    """Predicts scale * x."""

    device = torch.device("cpu")

    def __init__(self, scale, parametrization=Parametrization.EPS):
        self.scale, self.parametrization, self.largest = scale, parametrization, 0

    def denoise(self, x, sigma):
        self.largest = max(self.largest, len(x))
        return self.scale * x

    def features(self, x, sigma):
        return self.scale * x


@pytest.mark.parametrize("parametrization", [Parametrization.EPS, Parametrization.V, Parametrization.FLOW])
@pytest.mark.parametrize("size", [1, 4, 50])
def test_guidance_difference_written_out(parametrization, size):
    latents, sigmas, noise = normal(3, *SHAPE), [0.8, 0.2], reading_noise(2, SHAPE, 5)
    one, other = Linear(0.7, parametrization), Linear(0.2, parametrization)
    found = guidance_difference(one, other, latents, sigmas, draws=2, seed=5, batch=BatchSize(size))
    expected = []
    for latent in latents:
        norms = [0.5 * ((1 - sigma if parametrization is Parametrization.FLOW else 1) * latent + sigma * eps).norm()
                 / sigma for sigma in sigmas for eps in noise]
        expected.append(sum(norms).item() / 4 / math.sqrt(24))
    assert found.tolist() == pytest.approx(expected, rel=1e-5) and one.largest <= size


def test_a_prompt_that_changes_nothing_has_the_score_0():
    assert guidance_difference(Linear(0.5), Linear(0.5), normal(2, *SHAPE), [1.0]).tolist() == [0.0, 0.0]


class Half(Linear):
    def denoise(self, x, sigma):
        return torch.full_like(x, self.scale, dtype=torch.float16)


def test_predictions_in_half_precision_lose_nothing_between_them():
    """Their difference, 80 000, is more than the largest number of fp16."""
    assert guidance_difference(Half(4e4), Half(-4e4), normal(2, *SHAPE), [2.0]).tolist() == [4e4, 4e4]


def test_the_order_of_latents_does_not_matter():
    latents = normal(5, *SHAPE)
    whole = guidance_difference(Linear(1.0), Linear(0.1), latents, [1.0, 0.3], draws=3)
    assert torch.equal(guidance_difference(Linear(1.0), Linear(0.1), latents[[4, 0]], [1.0, 0.3], draws=3),
                       whole[[4, 0]])


class Broken(Linear):
    def denoise(self, x, sigma):
        return torch.full_like(x, torch.inf)


@pytest.mark.parametrize("arguments, message", [
    (dict(sigmas=[]), "above 0, but these are none"), (dict(sigmas=[1.0, 0.0]), "above 0, but these are 1, 0"),
    (dict(sigmas=[math.nan]), "above 0"), (dict(draws=0), "draws is 0"),
    (dict(latents=torch.zeros(0, *SHAPE)), "batch is empty"), (dict(latents=torch.zeros(3)), "four dimensions"),
    (dict(conditional=Broken(1.0)), "What a prompt changes at noise level 1 contain NaN")])
def test_what_has_no_guidance_difference_is_refused(arguments, message):
    given = dict(conditional=Linear(1.0), unconditional=Linear(0.0), latents=normal(2, *SHAPE), sigmas=[1.0])
    with pytest.raises((ValueError, NotFiniteError), match=message):
        guidance_difference(**{**given, **arguments})


@pytest.mark.parametrize("parametrization", [Parametrization.EPS, Parametrization.V, Parametrization.FLOW])
@pytest.mark.parametrize("size", [1, 4, 50])
def test_fit_written_out(parametrization, size):
    latents, sigmas, noise = normal(3, *SHAPE), [0.8, 0.2], reading_noise(2, SHAPE, 5)
    model = Linear(0.7, parametrization)
    found = fit(model, latents, sigmas, draws=2, seed=5, batch=BatchSize(size))
    expected = []
    for latent in latents:
        losses = [((0.7 * ((1 - sigma if parametrization is Parametrization.FLOW else 1) * latent + sigma * eps)
                    - latent) / sigma).square().mean() for sigma in sigmas for eps in noise]
        expected.append(-sum(losses).item() / 4)
    assert found.tolist() == pytest.approx(expected, rel=1e-5) and model.largest <= size


@pytest.mark.parametrize("parametrization, target", [
    (Parametrization.EPS, lambda clean, eps: eps), (Parametrization.FLOW, lambda clean, eps: eps - clean)])
def test_fit_is_the_loss_of_training(parametrization, target):
    """Of what the network itself gives: the noise, or the velocity of a flow."""
    clean, sigma, noise = normal(1, *SHAPE), 0.4, reading_noise(1, SHAPE, 0)
    output = normal(1, *SHAPE, seed=3)

    class Network(Linear):
        def denoise(self, x, sigma):
            return denoised_from_output(parametrization, output, x, sigma)

    loss = (output - target(clean, noise)).square().mean()
    assert fit(Network(0.0, parametrization), clean, [sigma]).item() == pytest.approx(-loss.item(), rel=1e-4)


def test_both_scores_of_the_same_predictions():
    latents, arguments = normal(5, *SHAPE), dict(draws=3, seed=2, batch=BatchSize(4))
    one, other = Linear(0.7), Linear(0.2)
    found = scores_by_prompts(one, other, latents, [0.8, 0.2], **arguments)
    assert torch.equal(found["guidance"], guidance_difference(one, other, latents, [0.8, 0.2], **arguments))
    assert torch.equal(found["fit"], fit(one, latents, [0.8, 0.2], **arguments))


def test_what_is_asked_is_told_of():
    heard, one, other = [], Linear(0.7), Linear(0.2)
    for ask, denoisers in ((fit, (one,)), (guidance_difference, (one, other)), (scores_by_prompts, (one, other))):
        ask(*denoisers, normal(3, *SHAPE), [0.8, 0.2], draws=2, batch=BatchSize(4),
            watchers=[lambda event, state: heard.append((event.row, event.rows))])
        assert heard == [(4, 6), (6, 6)] * 2
        heard.clear()


def test_fit_in_half_precision_overflows_nowhere():
    assert fit(Half(4e4), torch.full((2, *SHAPE), -4e4), [2.0]).tolist() == [-1.6e9, -1.6e9]
    with pytest.raises(NotFiniteError, match="What the model takes for clean at noise level 1"):
        fit(Broken(1.0), normal(2, *SHAPE), [1.0])


def test_the_maximum_over_space_is_read():
    latents, noise = normal(4, *SHAPE), reading_noise(3, SHAPE, 2)
    found = channel_means(Linear(1.0), latents, [0.5], Reading(3, 2, MAXIMUM), batch=BatchSize(5))
    expected = torch.stack([(latent + 0.5 * noise).amax((2, 3)).mean(0) for latent in latents])
    assert found.pooling == MAXIMUM
    torch.testing.assert_close(found.means[:, 0], expected)
