"""Which layer's features stand for meaning, measured on features of N latents under each of P prompts.

Everything that is asked about a layer is a function of inner products of its features, so that a layer is summed up by
its Gram matrix (P, N, P, N) at each noise level, however large its maps are: `Sketch` shortens features beforehand. All
estimates are free of bias, so that few latents do not favour layers whose features vary more.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..precision import in_double
from ..rounding import is_rounding
from ..statistics import jackknife_error, leave_one_out

FEWEST_PROMPTS = 2
FEWEST_LATENTS = 4  # what the participation ratio needs


def gram(rows: Tensor) -> Tensor:
    """Inner products (P, N, P, N) in fp64 of features (P, N, D)."""
    flat = in_double(rows).flatten(0, 1)  # (P N, D)
    return (flat @ flat.T).view(*rows.shape[:2], *rows.shape[:2])


@dataclass(frozen=True)
class Spread:
    """Where the variance of features lies; tensors (...), one number for each Gram matrix that was given.

    between: trace of the covariance of the prompts' mean features; an estimate, which may fall below 0.
    within: trace of the covariance of features within a prompt, averaged over prompts.
    """

    between: Tensor
    within: Tensor

    @property
    def ratio(self) -> Tensor:
        """Fisher's ratio, between / within."""
        return self.between / self.within


def spread(grams: Tensor) -> Spread:
    """The spread of features from Gram matrices (..., P, N, P, N), of at least 2 prompts and 2 latents each.

    The variance of N-latent means holds the variance of the prompts' true means and 1/N of that within a prompt, which
    a plain ratio would take for separation: with 8 latents, prompts that the model cannot tell apart would get 1/8. So

        between = tr Cov_p(mean_n h_pn) - within / N,   both covariances with P - 1 and N - 1 in the denominator,

    whose expectation is right for features of any distribution. Either is 0 where it is rounding error, so that
    features that are all the same have a ratio of 0 / 0.
    """
    prompts, count = grams.shape[-4:-2]
    within = (_centred(grams).diagonal(dim1=-2, dim2=-1).sum(-1) / (count - 1)).mean(-1)
    means = grams.mean((-3, -1))  # (..., P, P)
    variance = (means.diagonal(dim1=-2, dim2=-1).mean(-1) - means.mean((-2, -1))) * (prompts / (prompts - 1))
    between = variance - within / count
    return Spread(torch.where(is_rounding(between, _energy(grams)), 0.0, between), within)


def participation_ratio(grams: Tensor) -> Tensor:
    """The dimension (...) of features within a prompt, (tr C)^2 / tr C^2, from Gram matrices (..., P, N, P, N), N at
    least 4.

    It is d if d directions vary alike. That of N latents' own covariance can never exceed N - 1; here (tr C)^2 and tr
    C^2 are estimated without bias each (Himeno and Yamada, J. Multivariate Anal. 130, 2014: averages over all choices
    of four different latents, in closed form), and averaged over prompts before they are divided. Infinite where so
    many directions vary that N latents cannot tell.
    """
    count = grams.shape[-1]
    centred = _centred(grams)
    squares = centred.diagonal(dim1=-2, dim2=-1)  # (..., P, N) squared distances from the prompt's mean
    trace, fourth = squares.sum(-1) / (count - 1), squares.square().sum(-1) / (count - 1)  # (..., P)
    trace_of_square = centred.square().sum((-2, -1)) / (count - 1) ** 2
    # Both are multiplied by one factor, which the ratio does not need.
    top = 2 * trace_of_square + (count**2 - 3 * count + 1) * trace**2 - count * fourth
    bottom = (count - 1) * (count - 2) * trace_of_square + trace**2 - count * fourth
    positive = (count - 1) * (count - 2) * trace_of_square + trace**2
    top, bottom, positive = top.mean(-1), bottom.mean(-1), positive.mean(-1)
    return torch.where((bottom > 0) & ~is_rounding(bottom, positive), top / bottom, math.inf)


def _centred(grams: Tensor) -> Tensor:
    """Inner products (..., P, N, N) of the differences from each prompt's own mean; 0 where they are rounding error."""
    own = grams.diagonal(dim1=-4, dim2=-2).movedim(-1, -3)  # (..., P, N, N)
    centred = own - own.mean(-1, keepdim=True) - own.mean(-2, keepdim=True) + own.mean((-2, -1), keepdim=True)
    return torch.where(is_rounding(centred, _energy(grams)[..., None, None, None]), 0.0, centred)


def _energy(grams: Tensor) -> Tensor:
    """The mean squared norm (...) of features."""
    return grams.flatten(-4, -3).flatten(-2, -1).diagonal(dim1=-2, dim2=-1).mean(-1)


@dataclass(frozen=True)
class LayerMatching:
    """Squared distances to the prompt's mean of M matched latents per prompt, before and after a few iterations.

    before, after: (S, L, P, M) for S noise levels and L layers. index: (P, M), which of the N latents they were.
    """

    before: Tensor
    after: Tensor
    index: Tensor

    def left(self, kept: list[int]) -> Tensor:
        """The share (S, L) of the squared distance that matching left, over those latents whose index is in `kept`."""
        counted = torch.isin(self.index, torch.tensor(kept)).double()  # (P, M)
        return (self.after * counted).sum((-2, -1)) / (self.before * counted).sum((-2, -1))


def aligned_separation(grams: Tensor, matching: LayerMatching | None, kept: list[int]) -> Tensor:
    """The score of each layer (L,) by the latents in `kept`, from Gram matrices (S, L, P, N, P, N): from
    -1 / (N left) to 1.

        score = mean over noise levels of  between / (between + within (left + 1/N))

    It is the share of variance that the prompt would explain among mental averages: those of N latents, whose mean has
    an error of within / N, after matching that leaves `left` of the spread. A layer gets a high score if prompts are
    told apart there and latents can be brought together there. Without matching `left` is 1: the plain share. A layer
    that does not see the prompt gets about 0, more or less: `between` is then what is left of an error, as negative as
    -within / N where the prompts' means happen to be the same, and small differences from 0 count the more the less
    matching leaves.
    """
    found = spread(grams[..., kept, :, :][..., kept])
    left = 1.0 if matching is None else matching.left(kept)
    return (found.between / (found.between + found.within * (left + 1 / len(kept)))).mean(0)


@dataclass(frozen=True)
class LayerChoice:
    """Which layer has the highest score, and by how much it is ahead of the next; errors are those of a jackknife over
    latents.

    A layer whose score is not a number, because its features are not finite or do not vary, gets -inf. runner_up,
    margin and margin_error are None if there is no other layer with a score.
    """

    scores: list[float]
    errors: list[float]
    best: int
    runner_up: int | None
    margin: float | None
    margin_error: float | None


def choose_layer(score: Callable[[list[int]], Tensor], count: int) -> LayerChoice:
    """The choice among layers by `score(kept)` (L,), a function of which of `count` latents per prompt are used.

    Leaving one latent of every prompt out in turn shows how much each score, and the difference of the best two,
    depends on the latents that happened to be drawn. It does not show how much they depend on the prompts.

    Raises ValueError with a sentence for the user if no layer has a score.
    """
    scores, replicates = score(list(range(count))), leave_one_out(score, count)  # (L,), (N, L)
    scores = torch.where(scores.isfinite(), scores, -math.inf)
    order = [layer for layer in scores.argsort(descending=True, stable=True).tolist() if scores[layer] > -math.inf]
    if not order:
        raise ValueError("No layer could be scored: the features of every layer are infinite, not numbers, or the same "
                         "for all latents. Load the model in another precision (bfloat16 or 32 bit), or take other "
                         "prompts.")
    best, runner_up = order[0], order[1] if len(order) > 1 else None
    margin = error = None
    if runner_up is not None:
        margin = (scores[best] - scores[runner_up]).item()
        error = jackknife_error(replicates[:, best] - replicates[:, runner_up]).item()
    return LayerChoice(scores.tolist(), jackknife_error(replicates).tolist(), best, runner_up, margin, error)
