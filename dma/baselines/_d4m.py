"""D4M: a centroid of latents, noised and denoised with the prompt."""
from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..diffusion import Denoiser, add_noise, check_falling, check_latents, salted_seed, sampling, starting_noise
from ..execution import BatchSize, Watcher, choose_batch, drive
from ..rounding import rounded_down

# What the authors' script of prototypes and shell scripts say; the default of their program of pictures is 0.75.
STRENGTH = 0.7
D4M_GUIDANCE = 8.0
D4M_STEPS = 50  # that of the pipeline, which the script does not change
D4M_NEGATIVE_PROMPT = "cartoon, anime, painting"


def d4m_samples(denoiser: Denoiser, sigmas: Tensor, centroids: Tensor, *, strength: float = STRENGTH, seed: int = 0,
                batch: BatchSize | None = None, watchers: Sequence[Watcher] = ()) -> Tensor:
    """D4M's pictures (n, C, H, W) of centroids (n, C, H, W), such as those of `minibatch_centroids`; on the CPU.

    Su et al., *D4M: Dataset Distillation via Disentangled Diffusion Model* (arXiv 2407.15138) and their code: each
    centroid m is noised to the level at which the last `strength` of the steps begin, and denoised from there with the
    prompt, at guidance 8 away from "cartoon, anime, painting":

        x = add_noise(m, eps, sigma_i),  i = S - floor(strength S);   then the plain deterministic steps down to 0

    sigmas: the noise levels (S + 1,), falling to 0. The noise eps is drawn from this seed, a row for each centroid:
    another seed, another picture; it is none that samples of the seed start from, of which a centroid may be made.
    strength 0 gives the centroids themselves, and 1 noises them to the first level. The script samples with PNDM, of
    which this is the deterministic first order.

    What is a guess: how the mental-average paper ran D4M. Here one centroid of the samples stands for a concept.

    Raises ValueError where `check_strength` does, for noise levels that do not fall and for centroids that are not
    finite; and, as NotFiniteError that names the step, where the model predicts NaN or infinity.

    >>> import torch
    >>> from mental_averages.dma.diffusion import Parametrization
    >>> class Constant:
    ...     parametrization, device = Parametrization.EPS, torch.device("cpu")
    ...     def denoise(self, x, sigma): return torch.full_like(x, 3.0)
    >>> d4m_samples(Constant(), torch.tensor([9.0, 3.0, 1.0, 0.0]), torch.zeros(1, 1, 1, 1)).item()
    3.0
    """
    check_falling(sigmas)
    check_strength(strength, len(sigmas) - 1)
    check_latents(centroids)
    first = first_step(len(sigmas) - 1, strength)
    noise = starting_noise(len(centroids), tuple(centroids.shape[1:]), salted_seed(seed, "D4M"))
    x = add_noise(denoiser.parametrization, centroids.cpu().float(), noise, sigmas[first].item())
    return drive(sampling(denoiser, x, sigmas.tolist(), choose_batch(batch, x.shape[1:]), first=first), None, watchers)


def check_strength(strength: float, steps: int) -> None:
    """Raise ValueError for a strength outside 0 ... 1, and for one above 0 that leaves none of so many steps."""
    if not 0 <= strength <= 1:
        raise ValueError(f"strength is {strength}: it must lie between 0 (the centroid itself) and 1.")
    if strength > 0 and first_step(steps, strength) == steps:
        raise ValueError(f"strength {strength:g} of {steps} steps is less than one step, so that the model would not "
                         f"be asked: choose at least {1 / steps:.3g}, more steps, or strength 0 for the centroid "
                         "itself.")


def first_step(steps: int, strength: float) -> int:
    """The step of a schedule, counted from 0, from which the last `strength` of it is left to do, rounded down.

    >>> first_step(50, 0.7), first_step(20, 0.0)
    (15, 20)
    """
    return steps - min(steps, rounded_down(steps * strength))
