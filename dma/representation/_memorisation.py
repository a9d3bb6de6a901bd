"""How much like memorised pictures a network takes latents: by its features, by what a prompt changes, and by how well
it knows them.

Zhang et al., *Generalization of Diffusion Models Arises with a Balanced Representation Space* (ICLR 2026, arXiv
2512.20963): of a picture that it has memorised a network's features are spiky, a few channels hold nearly all, and of
others balanced. `channel_scores` are the statistics of their code, `guidance_difference` is the rival that needs a
prompt, `fit` the plain one: the loss that training has lowered.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence

import torch
from torch import Tensor

from ..diffusion import Denoiser, check_finite, check_latents, of_rows
from ..execution import BatchSize, Event, Watcher, choose_batch, drive
from ..precision import in_double
from ._channel_means import noisy_draws, reading_noise
from ._representation import Representation

DEVIATION, NORM, SPIKINESS, GUIDANCE, FIT = "deviation", "norm", "spikiness", "guidance", "fit"
# New names go to the end: saved graphs name them. Those of CHANNEL_SCORES come from features, without a prompt.
CHANNEL_SCORES = (DEVIATION, NORM, SPIKINESS)
SCORES = (*CHANNEL_SCORES, GUIDANCE, FIT)


def channel_scores(representations: Sequence[Representation]) -> dict[str, Tensor]:
    """The scores (N,) in fp64 of the same N pictures, of each kind, by features v (N, levels, C) of one or more layers.

        deviation  = sqrt(1/C sum_c (v_c - mean of v)^2)      the detector of arXiv 2512.20963
        norm       = |v|_2
        spikiness  = |v|_4 / |v|_2                            in C^(-1/4) ... 1: all channels alike, a single one

    Each is the mean over layers and noise levels of that of one layer and level, so that the order of layers does not
    matter; the source takes one of each. Larger ones are more like memorised pictures. Features that are all 0 have the
    scores 0.

    Raises ValueError for no layers, for layers read of other pictures, levels or with another pooling, for one that is
    there twice, and for features that are not one number a channel or not finite.

    >>> one = Representation(torch.tensor([[[3.0, 1.0, 1.0, 1.0]]]), "a", (0.1,), 1, 0, "mean", (1, 2, 2),
    ...                      torch.zeros(1, 1))
    >>> {name: round(score.item(), 3) for name, score in channel_scores([one]).items()}
    {'deviation': 0.866, 'norm': 3.464, 'spikiness': 0.874}
    """
    _check_layers(representations)
    found: dict[str, list[Tensor]] = {name: [] for name in CHANNEL_SCORES}
    for each in representations:
        values = in_double(each.means)  # (N, levels, C)
        # By the largest, so that fourth powers neither overflow nor vanish.
        largest = values.abs().amax(2, keepdim=True)
        scaled = values / largest.where(largest > 0, torch.ones_like(largest))
        squares = scaled.square().sum(2).sqrt()  # (N, levels), of a row of zeros 0
        fourths = scaled.square().square().sum(2).sqrt().sqrt()
        found[DEVIATION].append(values.var(2, correction=0).sqrt().mean(1))
        found[NORM].append((squares * largest.squeeze(2)).mean(1))
        found[SPIKINESS].append((fourths / squares.where(squares > 0, torch.ones_like(squares))).mean(1))
    return {name: torch.stack(scores).mean(0) for name, scores in found.items()}


def _check_layers(representations: Sequence[Representation]) -> None:
    if not representations:
        raise ValueError("There is no layer whose features could be judged.")
    first = representations[0]
    names = [each.layer for each in representations]
    if len(set(names)) < len(names):
        raise ValueError(f"Each layer is judged once, but these are {', '.join(names)}.")
    for each in representations:
        if each.means.ndim != 3:
            raise ValueError(f"Scores are those of one number a channel, but the layer {each.layer} was read with the "
                             f"pooling {each.pooling}.")
        if (len(each), each.sigmas, each.pooling) != (len(first), first.sigmas, first.pooling):
            raise ValueError(f"The layers {first.layer} and {each.layer} were read of other pictures, at other noise "
                             "levels, or with another pooling.")
        if not each.means.isfinite().all():
            raise ValueError(f"The features of the layer {each.layer} contain NaN or infinity.")


def guidance_difference(conditional: Denoiser, unconditional: Denoiser, latents: Tensor, sigmas: Sequence[float], *,
                        draws: int = 1, seed: int = 0, batch: BatchSize | None = None,
                        watchers: Sequence[Watcher] = ()) -> Tensor:
    """How much a prompt changes what a network predicts (N,), in fp64, for clean latents (N, C, H, W) in its units:

        score = mean over levels and draws of  |D(x, sigma, prompt) - D(x, sigma, empty)|_2 / (sigma sqrt(C H W))

    with x = add_noise(latent, eps, sigma), the same noises eps for all latents (`reading_noise`). Wen et al.,
    *Detecting, Explaining, and Mitigating Memorization in Diffusion Models* (ICLR 2024): |eps(x, prompt) - eps(x,
    empty)| is large where a prompt has a picture by heart. D is the predicted clean latent, so over sigma it is the
    difference of predicted noises of eps and v models, and of velocities of flow models. They take the mean over the
    steps of a sampling; here pictures are judged that exist, so noise is put on them. Over sqrt(C H W), the root mean
    square, sizes can be compared.

    Both Denoisers are those of all latents. Events are "predict" after each micro-batch, one pass for each level.
    Raises ValueError for latents that are none, for no draws, and for levels that are not above 0; NotFiniteError for
    predictions that are NaN or infinite.

    >>> from ..diffusion import Parametrization
    >>> class Constant:
    ...     parametrization, device = Parametrization.EPS, torch.device("cpu")
    ...     def __init__(self, value): self.value = value
    ...     def denoise(self, x, sigma): return torch.full_like(x, self.value)
    >>> guidance_difference(Constant(3.0), Constant(1.0), torch.ones(2, 1, 2, 2), [4.0, 2.0]).tolist()
    [0.75, 0.75]
    """
    return _mean_over_noise(_changed, (conditional, unconditional), latents, sigmas, draws, seed, batch, watchers)


def fit(denoiser: Denoiser, latents: Tensor, sigmas: Sequence[float], *, draws: int = 1, seed: int = 0,
        batch: BatchSize | None = None, watchers: Sequence[Watcher] = ()) -> Tensor:
    """How well a network knows pictures (N,), in fp64: minus its loss on clean latents (N, C, H, W) in its units,

        fit = - mean over levels and draws of  |D(x, sigma) - latent|_2^2 / (sigma^2 C H W)

    with x = add_noise(latent, eps, sigma), the same noises eps for all latents (`reading_noise`). D is the predicted
    clean latent, so this is the mean squared error of predicted noises of eps and v models, and of velocities of flow
    models. Pictures that training has shown more often have a lower loss, with their own prompt above all: the attack
    by the loss of Yeom et al., *Privacy Risk in Machine Learning* (CSF 2018), which Carlini et al., *Extracting
    Training Data from Diffusion Models* (2023, arXiv 2301.13188, section 5), put to diffusion models. Plain pictures
    have a lower one than rich ones, too, so that references should be of their kind.

    Events and errors are those of `guidance_difference`.

    >>> from ..diffusion import Parametrization
    >>> class Zero:
    ...     parametrization, device = Parametrization.EPS, torch.device("cpu")
    ...     def denoise(self, x, sigma): return 0 * x
    >>> fit(Zero(), torch.full((2, 1, 2, 2), 3.0), [1.0, 3.0]).tolist()
    [-5.0, -5.0]
    """
    return _mean_over_noise(_known, (denoiser,), latents, sigmas, draws, seed, batch, watchers)


def scores_by_prompts(conditional: Denoiser, unconditional: Denoiser, latents: Tensor, sigmas: Sequence[float], *,
                      draws: int = 1, seed: int = 0, batch: BatchSize | None = None,
                      watchers: Sequence[Watcher] = ()) -> dict[str, Tensor]:
    """`guidance_difference`, and the `fit` by the conditional Denoiser, of the same predictions (N,)."""
    def both(told: Tensor, untold: Tensor, clean: Tensor, sigma: float) -> Tensor:
        return torch.stack([_changed(told, untold, clean, sigma), _known(told, clean, sigma)], 1)  # (b, 2)

    found = _mean_over_noise(both, (conditional, unconditional), latents, sigmas, draws, seed, batch, watchers)
    return {GUIDANCE: found[:, 0], FIT: found[:, 1]}


def _changed(told: Tensor, untold: Tensor, clean: Tensor, sigma: float) -> Tensor:
    # In fp64 before it is taken: half precision would round away, or overflow, what lies between the two.
    difference = check_finite(in_double(told) - in_double(untold), "What a prompt changes", sigma)
    return difference.square().flatten(1).mean(1).sqrt() / sigma


def _known(predicted: Tensor, clean: Tensor, sigma: float) -> Tensor:
    error = check_finite(in_double(predicted) - in_double(clean), "What the model takes for clean", sigma)
    return -error.square().flatten(1).mean(1) / sigma**2


def _mean_over_noise(judge: Callable[..., Tensor], denoisers: Sequence[Denoiser], latents: Tensor,
                     sigmas: Sequence[float], draws: int, seed: int, batch: BatchSize | None,
                     watchers: Sequence[Watcher]) -> Tensor:
    """The mean over levels and draws (N, ...) of what `judge(*predictions, clean latents, sigma)` makes (b, ...) of
    those of each Denoiser."""
    check_latents(latents)
    if draws < 1:
        raise ValueError(f"draws is {draws}: at least 1 draw of noise is needed.")
    if not sigmas or not all(0 < sigma < math.inf for sigma in sigmas):
        raise ValueError("What a network predicts is judged at one or more noise levels above 0, but these are "
                         f"{', '.join(f'{sigma:.4g}' for sigma in sigmas) or 'none'}.")
    latents = latents.detach().cpu()  # where their noise is drawn
    shape = tuple(latents.shape[1:])
    noise = reading_noise(draws, shape, seed)  # (n, C, H, W)
    return drive(_judging(judge, denoisers, latents, noise, sigmas, choose_batch(batch, shape)), None, watchers)


def _judging(judge: Callable[..., Tensor], denoisers: Sequence[Denoiser], latents: Tensor, noise: Tensor,
             sigmas: Sequence[float], batch: BatchSize) -> Generator[Event, None, Tensor]:
    """The loop of `_mean_over_noise`."""
    count, draws = len(latents), len(noise)
    totals: list[Tensor] = []
    for sigma in map(float, sigmas):
        def read(rows: slice, sigma: float = sigma) -> Tensor:
            chosen, noisy = noisy_draws(denoisers[0], latents, noise, rows, sigma)
            return judge(*(of_rows(each, chosen).denoise(noisy, sigma) for each in denoisers), latents[chosen], sigma)

        found: list[Tensor] = []
        for rows, scores in batch.over(count * draws, read):
            found.append(scores)
            yield Event("predict", rows.stop - rows.start, rows.stop, count * draws)
        totals.append(torch.cat(found).unflatten(0, (count, draws)).sum(1))  # of (N n, ...)
    return torch.stack(totals).sum(0) / (draws * len(sigmas))
