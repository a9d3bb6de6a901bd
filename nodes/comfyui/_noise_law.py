"""The noise levels of a MODEL, to the same bit wherever it lies."""
from __future__ import annotations

import copy
from typing import Any

import torch

DIGITS = 6  # of a level by which samplings and runs are told apart; a machine may have its own last bits


def noise_law(model: Any) -> Any:
    """Core's model_sampling of a MODEL, on the CPU.

    Core moves it with the weights, and exponentials and logarithms of a card have other last bits: the levels of one
    schedule would be others in the first run after a start than in those that follow.
    """
    law = model.get_model_object("model_sampling")
    elsewhere = isinstance(law, torch.nn.Module) and any(
        tensor.device.type != "cpu" for tensor in (*law.buffers(), *law.parameters()))
    return copy.deepcopy(law).to("cpu") if elsewhere else law


def rounded_level(sigma: float) -> float:
    """A noise level as it is told apart from others.

    >>> rounded_level(14.614643)
    14.6146
    """
    return float(f"{sigma:.{DIGITS}g}")
