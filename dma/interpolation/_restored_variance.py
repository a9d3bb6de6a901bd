"""A closed form that gives a mixture its lost variance back."""
from __future__ import annotations

import torch
from torch import Tensor


def restored_variance(mean_energy: Tensor, kept_energy: Tensor, nominal: float) -> Tensor:
    """The norm that gives a mixture back the variance it lost, at its nominal level: sqrt(|m|^2 + L v / q).

    Section 7 of the paper asks for a closed form that is continuous near the inputs and approaches sqrt(L) far from
    them. See the weights as a probability distribution over the inputs e_n, with mean m = sum w_n e_n, mean energy
    q = sum w_n |e_n|^2 and variance v = sum w_n |e_n - m|^2, so that

        q = |m|^2 + v.

    Averaging keeps the energy |m|^2 and loses v, the share v / q of all there was. What is kept is known, and stays as
    it is; what is lost is gone, and its share of the energy is given back at the level L that noise has:

        |e'|^2 = |m|^2 + L v / q = c q + (1 - c) L,      c = |m|^2 / q.

    The second form says the same as a blend between the inputs' own energy and the nominal one. 1 / c is the
    effective number of inputs, measured instead of counted: for independent inputs of equal norm it is 1 / sum w_n^2.

    - w_n = 1: v = 0, so e' = e_n exactly, and copies of one input give that input.
    - Weights spread over ever more independent inputs: c -> 0 and |e'| -> sqrt(L), as in `fix`.
    - Smooth in weights and inputs wherever m is not zero (where it is, no method has a direction to go on with), and
      |e'| always lies between the inputs' root mean square norm and sqrt(L).
    - Only the distribution counts: the order of inputs has no effect, nor has it to split an input's weight between two
      copies of it. A target blended by 1 / sum w_n^2 would change with such a copy, and LOL amplifies copies.
    - Inputs of norm sqrt(L) are mixed as by `fix` and `nin`, which then agree.

    `mean_energy` is q, `kept_energy` |m|^2, both (M,), `nominal` sqrt(L). Zero where all inputs are zero.

    >>> restored_variance(torch.tensor([9.0, 9.0]), torch.tensor([9.0, 0.0]), nominal=4.0)
    tensor([3., 4.])
    """
    lost = (mean_energy - kept_energy).clamp_min(0)
    share = torch.where(mean_energy > 0, lost / torch.where(mean_energy > 0, mean_energy, 1.0), 0.0)
    return (kept_energy + nominal**2 * share).sqrt()
