"""How sparse channel means are, and which channels are specialised.

After arXiv 2506.01912, where the channels of a U-Net's middle block that are active for a picture are few, and some are
specialised: active for few pictures, so that their values over pictures have heavy tails, while those of channels
common to all pictures are near to a Gaussian.
"""
from __future__ import annotations

import math

import torch
from torch import Tensor

from ..precision import in_double

FEWEST_PICTURES = 2
FEWEST_FOR_TAILS = 20  # from which on Anscombe and Glynn's approximation is good
FLAT = 1e-5  # of its largest value: a channel that varies less differs by the rounding of fp32 networks
HEAVY = 2.3263478740408408  # the 99 % quantile of a standard normal: 1 % of Gaussian channels are beyond it


def participation(values: Tensor) -> Tensor:
    """The participation ratio (...) of channels (..., C), normalised to their number:

        (sum_c |phi_c|)^2 / (C sum_c phi_c^2)

    It is 1 where all channels are equally large, and k / C where k of them are and the others are 0. NaN where all are
    0.

    >>> participation(torch.tensor([[1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 3.0, 0.0]])).tolist()
    [0.5, 0.25]
    """
    values = in_double(values)
    return values.abs().sum(-1).square() / (values.shape[-1] * values.square().sum(-1))


def varying(values: Tensor) -> Tensor:
    """Which channels (C,) of values (N, C) differ between rows by more than rounding."""
    values = in_double(values)
    return values.std(0, correction=0) > FLAT * values.abs().amax(0)


def tail_scores(values: Tensor) -> Tensor:
    """How heavy the tails of each channel are, (C,), of values (N, C) over N rows: Anscombe and Glynn's normalised
    kurtosis (Biometrika 70, 1983), which is near to standard normal for Gaussian channels and larger for heavy tails.

    Raises ValueError for fewer than 20 rows, and for NaN and infinity. NaN for a channel that does not vary.
    """
    count = len(values)
    if count < FEWEST_FOR_TAILS:
        raise ValueError(f"The tails of a distribution cannot be told from {count} pictures: at least "
                         f"{FEWEST_FOR_TAILS} are needed.")
    if not values.isfinite().all():
        raise ValueError("Channels must be finite, but some values are NaN or infinite.")
    centred = in_double(values) - in_double(values).mean(0)
    kurtosis = centred.pow(4).mean(0) / centred.square().mean(0).square()  # (C,)
    mean = 3 * (count - 1) / (count + 1)
    variance = 24 * count * (count - 2) * (count - 3) / ((count + 1) ** 2 * (count + 3) * (count + 5))
    standardised = (kurtosis - mean) / math.sqrt(variance)
    skewness = (6 * (count**2 - 5 * count + 2) / ((count + 7) * (count + 9))
                * math.sqrt(6 * (count + 3) * (count + 5) / (count * (count - 2) * (count - 3))))
    degrees = 6 + 8 / skewness * (2 / skewness + math.sqrt(1 + 4 / skewness**2))
    below = 1 + standardised * math.sqrt(2 / (degrees - 4))
    scores = (1 - 2 / (9 * degrees) - ((1 - 2 / degrees) / below).pow(1 / 3)) / math.sqrt(2 / (9 * degrees))
    # The approximation ends there: tails are as light as can be.
    return torch.where(below <= 0, -math.inf, scores)


def specialised(values: Tensor) -> Tensor:
    """Which channels (C,) of values (N, C) have heavier tails over N pictures than 99 % of Gaussian ones would.

    Raises ValueError where `tail_scores` does. A channel that does not vary is not specialised.
    """
    return (tail_scores(values) > HEAVY) & varying(values)
