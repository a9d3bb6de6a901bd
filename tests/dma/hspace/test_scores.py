"""Scores of layers against closed forms."""
import itertools
import math

import pytest
import torch

from mental_averages.dma import hspace
from mental_averages.dma.hspace import layer_report


def features(prompts, count, means, factor, generator):
    """Features (P, N, D): means (P, D) plus noise of covariance factor factor^T."""
    noise = torch.randn(prompts, count, factor.shape[1], generator=generator, dtype=torch.float64)
    return means[:, None] + noise @ factor.T


def test_estimates_are_those_over_all_choices_of_different_latents():
    """Brute force over tuples of different latents is unbiased by construction for features of any distribution."""
    rows = torch.randn(3, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) ** 3
    found = hspace.spread(hspace.gram(rows))
    within, squares, of_squares = [], [], []
    for prompt in rows:
        products = [((prompt[i] - prompt[j]) @ (prompt[k] - prompt[l]) / 2, (prompt[i] - prompt[j]).square().sum() / 2,
                     (prompt[k] - prompt[l]).square().sum() / 2) for i, j, k, l in itertools.permutations(range(6), 4)]
        of_squares.append(torch.stack([cross**2 for cross, _, _ in products]).mean())
        squares.append(torch.stack([one * other for _, one, other in products]).mean())
        within.append(torch.stack([one for _, one, _ in products]).mean())
    # Both sides of a product with latents of their own have no share of the variance within.
    between = torch.stack([(rows[p, i] - rows[q, k]) @ (rows[p, j] - rows[q, l]) / 2
                           for p, q in itertools.permutations(range(3), 2)
                           for i, j in itertools.permutations(range(6), 2)
                           for k, l in itertools.permutations(range(6), 2)]).mean()
    torch.testing.assert_close(found.within, torch.stack(within).mean())
    torch.testing.assert_close(found.between, between)
    torch.testing.assert_close(hspace.participation_ratio(hspace.gram(rows)),
                               torch.stack(squares).mean() / torch.stack(of_squares).mean())


def test_known_variances_are_found_without_bias():
    """Between, within and the participation ratio of Gaussian features, and nothing between prompts that are the
    same."""
    generator = torch.Generator().manual_seed(1)
    directions = torch.linalg.qr(torch.randn(12, 12, generator=generator, dtype=torch.float64))[0]
    deviations = torch.tensor([2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.0, 0.0, 0.0], dtype=torch.float64)
    variances = deviations**2
    means = torch.randn(4, 12, generator=generator, dtype=torch.float64)
    grams, same = [], []
    for _ in range(3000):
        grams.append(hspace.gram(features(4, 5, means, directions * deviations, generator)))
        same.append(hspace.gram(features(4, 5, means[:1].expand(4, -1), directions * deviations, generator)))
    found = hspace.spread(torch.stack(grams))
    assert found.within.mean() == pytest.approx(variances.sum().item(), rel=0.01)
    assert found.between.mean() == pytest.approx(means.var(dim=0).sum().item(), rel=0.02)
    apart = hspace.spread(torch.stack(same)).between
    assert abs(apart.mean()) < 4 * apart.std() / len(apart) ** 0.5  # 5 latents would feign within / 5
    assert found.ratio.mean() == pytest.approx((means.var(dim=0).sum() / variances.sum()).item(), rel=0.1)


@pytest.mark.parametrize("dimension", [3, 30])
def test_participation_ratio_of_isotropic_features_is_their_dimension(dimension):
    """Also where there are fewer latents than dimensions, which plain participation ratios cannot exceed."""
    generator = torch.Generator().manual_seed(2)
    grams = torch.stack([hspace.gram(torch.randn(40, 6, dimension, generator=generator, dtype=torch.float64))
                         for _ in range(30)])
    found = hspace.participation_ratio(grams)
    assert found.mean() == pytest.approx(dimension, rel=0.1)


def test_a_single_direction_has_dimension_one_and_rotation_and_offset_change_nothing():
    generator = torch.Generator().manual_seed(3)
    line = torch.randn(2, 5, 1, generator=generator, dtype=torch.float64) * torch.arange(1.0, 8.0, dtype=torch.float64)
    assert hspace.participation_ratio(hspace.gram(line)).item() == pytest.approx(1.0)
    rows = torch.randn(3, 5, 7, generator=generator, dtype=torch.float64)
    turned = rows @ torch.linalg.qr(torch.randn(7, 7, generator=generator, dtype=torch.float64))[0] + 3.0
    one, other, scaled = (hspace.gram(values) for values in (rows, turned, 5 * rows))
    for changed in (other, scaled):
        torch.testing.assert_close(hspace.spread(changed).ratio, hspace.spread(one).ratio)
        torch.testing.assert_close(hspace.participation_ratio(changed), hspace.participation_ratio(one))
    torch.testing.assert_close(hspace.spread(scaled).between, 25 * hspace.spread(one).between)


def test_layers_of_different_size_and_levels_are_measured_alike():
    """Gram matrices with leading dimensions give what each gives alone."""
    grams = torch.stack([hspace.gram(torch.randn(2, 4, size, generator=torch.Generator().manual_seed(size)))
                         for size in (2, 5, 9)])
    for index, matrix in enumerate(grams):
        # Sums over one matrix and over several may be taken in another order.
        torch.testing.assert_close(hspace.spread(grams).ratio[index], hspace.spread(matrix).ratio, rtol=1e-12, atol=0)
        torch.testing.assert_close(hspace.participation_ratio(grams)[index], hspace.participation_ratio(matrix),
                                   rtol=1e-12, atol=0)


def two_layers(between, count=6, prompts=4, seed=0):
    """Gram matrices (1, 2, P, N, P, N) of a layer with variance `between` of prompts and of one without, both of unit
    variance within."""
    generator = torch.Generator().manual_seed(seed)
    means = (between / 20) ** 0.5 * torch.randn(prompts, 20, generator=generator, dtype=torch.float64)
    identity = torch.eye(20, dtype=torch.float64) / 20**0.5
    return torch.stack([torch.stack([hspace.gram(features(prompts, count, shift, identity, generator))
                                     for shift in (means, 0 * means)])])


def test_score_is_the_share_explained_after_matching():
    grams = two_layers(between=3.0)
    found, everyone = hspace.spread(grams), list(range(6))
    plain = hspace.aligned_separation(grams, None, everyone)
    torch.testing.assert_close(plain, (found.between / (found.between + found.within * 7 / 6))[0])
    index = torch.tensor([[0, 1], [2, 3], [4, 5], [0, 1]])
    after = torch.full((1, 2, 4, 2), 0.25)
    after[..., 0, 1] = 1.0  # the latent 1 under the first prompt is not matched at all
    matching = hspace.LayerMatching(torch.ones_like(after), after, index)
    assert matching.left(everyone)[0, 0].item() == pytest.approx((7 * 0.25 + 1) / 8)
    assert matching.left([0, 2, 3, 4, 5])[0, 0].item() == pytest.approx(0.25)
    matched = hspace.aligned_separation(grams, matching, everyone)
    left = matching.left(everyone)[0]
    torch.testing.assert_close(matched, (found.between / (found.between + found.within * (left + 1 / 6)))[0])
    assert matched[0] > plain[0] > plain[1]


def test_the_least_score_is_that_of_prompts_whose_means_are_the_same():
    """However far latents are brought together; features without any signal come near to it."""
    grams, everyone = two_layers(between=3.0), list(range(6))
    rows = torch.randn(4, 6, 20, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    grams = torch.cat([grams, hspace.gram(rows - rows.mean(1, keepdim=True))[None, None]], dim=1)
    index = torch.zeros(4, 1, dtype=torch.int64)
    matching = hspace.LayerMatching(torch.ones(1, 3, 4, 1), torch.full((1, 3, 4, 1), 0.05), index)
    found = hspace.aligned_separation(grams, matching, everyone)
    assert found[2].item() == pytest.approx(-1 / (6 * 0.05)) and -1 / (6 * 0.05) < found[1] < found[0] <= 1


def test_choice_prefers_the_layer_that_separates_and_errors_say_by_how_much():
    """The error by the jackknife is the spread of scores over independent draws."""
    grams = [two_layers(between=0.5, count=12, seed=seed) for seed in range(40)]
    # The prompts' means are drawn anew each time and are no part of the error: compare around what each would give.
    choice = hspace.choose_layer(lambda kept: hspace.aligned_separation(grams[0], None, kept), 12)
    assert (choice.best, choice.runner_up) == (0, 1)
    assert (choice.margin == pytest.approx(choice.scores[0] - choice.scores[1])
            and choice.margin > 3 * choice.margin_error)
    blind = torch.tensor([hspace.aligned_separation(matrix, None, list(range(12)))[1].item() for matrix in grams])
    errors = [hspace.choose_layer(lambda kept, matrix=matrix: hspace.aligned_separation(matrix, None, kept),
                                  12).errors[1] for matrix in grams]
    assert sum(errors) / len(errors) == pytest.approx(blind.std().item(), rel=0.5)
    alone = hspace.choose_layer(lambda kept: hspace.aligned_separation(grams[0][:, :1], None, kept), 12)
    assert alone.best == 0 and alone.runner_up is alone.margin is alone.margin_error is None


def test_dimension_beyond_what_few_latents_can_tell_is_null():
    orthogonal = torch.eye(8, dtype=torch.float64).view(2, 4, 8)  # no direction is met twice
    assert math.isinf(hspace.participation_ratio(hspace.gram(orthogonal)))
    # Turned by a rotation, they are orthogonal up to rounding alone.
    for seed in range(8):
        rotation = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(seed)).double())[0]
        for size in (0.1, 1.0, 3.0):
            assert math.isinf(hspace.participation_ratio(hspace.gram(size * orthogonal @ rotation)))
    grams = hspace.gram(orthogonal)[None, None]
    assert layer_report({"sigmas": [1.0]}, ["a"], grams, None, 0.0).layers[0].dimension == [None]


def test_a_layer_whose_features_do_not_vary_is_never_chosen():
    """Inner products of equal rows differ by rounding, in which a score would find any separation."""
    everyone, generator = list(range(6)), torch.Generator().manual_seed(0)
    for _ in range(8):
        row = torch.randn(1, 1, 100, generator=generator, dtype=torch.float64)
        same = hspace.gram(row.expand(4, 6, -1)) * (1 + 1e-15 * torch.randn(4, 6, 4, 6, generator=generator).double())
        found = hspace.spread(same)
        assert found.within == 0 and found.between == 0 and found.ratio.isnan()
        assert math.isinf(hspace.participation_ratio(same))
        grams = torch.cat([two_layers(3.0), same[None, None]], dim=1)
        assert hspace.aligned_separation(grams, None, everyone)[2].isnan()
        choice = hspace.choose_layer(lambda kept, grams=grams: hspace.aligned_separation(grams, None, kept), 6)
        assert choice.best == 0 and choice.scores[2] == -math.inf


def test_a_layer_whose_features_are_not_finite_is_never_chosen():
    """Infinite features give a NaN, and features that are the same for all latents 0 / 0."""
    grams = torch.cat([two_layers(3.0), two_layers(3.0)[:, :1]], dim=1)  # (S, 3, P, N, P, N)
    grams[:, 0] = math.inf
    grams[:, 2] = 0.0

    def score(kept):
        return hspace.aligned_separation(grams, None, kept)

    count = grams.shape[-1]
    assert score(list(range(count)))[[0, 2]].isnan().all()
    choice = hspace.choose_layer(score, count)
    assert choice.best == 1 and choice.scores[0] == choice.scores[2] == -math.inf
    assert choice.runner_up is None and choice.margin is None and choice.margin_error is None
    assert layer_report({"sigmas": [1.0]}, ["a", "b", "c"], grams, None, 0.0).chosen == "b"
    grams[:, 1] = math.nan
    with pytest.raises(ValueError, match="No layer could be scored.*another precision"):
        hspace.choose_layer(score, count)
