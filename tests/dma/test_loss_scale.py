"""Scaled backward passes: the range of fp16, rows of their own, and not a bit changed elsewhere."""
import math

import pytest
import torch

from mental_averages.dma.loss_scale import SMALLEST, LossScale, backward, falling_scales, power_of_two


def test_scales_fall_to_the_smallest():
    scales = list(falling_scales(8.0))
    assert scales == [2.0**exponent for exponent in range(3, -21, -1)] and scales[-1] == SMALLEST
    assert list(falling_scales(SMALLEST / 2)) == [SMALLEST / 2]
    assert [power_of_two(value) for value in (1e-9, 3.0, 65536.0)] == [2.0**-30, 4.0, 65536.0]


def test_results_in_fp32_are_those_without_scaling_to_the_last_bit():
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(30, 12, generator=generator)
    seed = torch.randn(5, 30, generator=generator) * torch.tensor([1e-12, 1e-3, 1.0, 1e5, 1e12])[:, None]
    assert torch.equal(LossScale(5).apply(lambda u: u @ matrix, seed), seed @ matrix)


def test_rows_that_overflow_are_lowered_alone_and_stay_so():
    calls = []

    def product(seed):
        calls.append(seed.clone())
        return (seed.half() * torch.tensor([[1.0], [2e5], [1.0]])).half().float()

    scale, seed = LossScale(3), torch.tensor([[1e-9], [1.0], [3.0]])
    for expected in ([1, 2, 1], [1, 1, 1]):
        found = scale.apply(product, seed)
        torch.testing.assert_close(found, torch.tensor([[1e-9], [2e5], [3.0]]), rtol=2e-3, atol=0)
        assert scale.tries.tolist() == expected and scale.retries.tolist() == [0, 1, 0]
    assert len(calls) == 3
    scale.keep(torch.tensor([False, True, False]))
    assert scale.lowered.tolist() == [2.0**-4] and scale.retries.tolist() == [1]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_never_finite_is_given_back_and_lowers_nothing(value):
    scale, calls = LossScale(2), []

    def product(seed):
        calls.append(seed)
        return torch.cat([seed[:1] * value, seed[1:]])

    found = scale.apply(product, torch.ones(2, 1))
    assert not found[0].isfinite() and found[1].item() == 1 and scale.lowered.tolist() == [1, 1]
    assert len(calls) == len(list(falling_scales(1.0, 2.0**4)))
    calls.clear()
    LossScale(2).apply(product, torch.tensor([[value], [1.0]]))
    assert len(calls) == 1, "another scale cannot help a seed that is not finite"


def test_what_is_recorded_is_used_once():
    leaf, calls = torch.tensor([1.0, 3.0], requires_grad=True), []

    def square():
        calls.append(torch.is_grad_enabled())
        return leaf.square()

    with torch.no_grad():
        with torch.enable_grad():
            recorded = square()
        product = backward(square, leaf, recorded)
        assert product(torch.ones(2)).tolist() == product(torch.ones(2)).tolist() == [2, 6]
    assert calls == [True, True]
