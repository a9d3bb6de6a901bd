import math

import pytest
import torch
from hypothesis import given, strategies as st
from noise_latents import SHAPE, mix, noise, norms, thorough

from mental_averages.dma.interpolation._slerp import slerp_coefficients


@thorough
@given(seed=st.integers(0, 10**6), t=st.floats(0.01, 0.99), scale=st.floats(0.5, 2))
def test_slerp_turns_evenly_and_the_common_form_agrees_on_the_sphere(seed, t, scale):
    latents = noise(2, seed)
    latents[1] *= scale
    first, second = (latents / norms(latents)[:, None, None, None]).double().flatten(1)
    angle = torch.arccos(first @ second)
    between = mix(latents, torch.tensor([[1 - t, t]], dtype=torch.float64), "slerp",
                  ("none", math.inf)).double().flatten()
    assert torch.arccos((between / between.norm()) @ first).item() == pytest.approx(t * angle.item(), abs=1e-3)
    assert between.norm().item() == pytest.approx(((1 - t) * norms(latents)[0] + t * norms(latents)[1]).item(),
                                                  rel=1e-5)
    common = mix(latents, torch.tensor([[1 - t, t]], dtype=torch.float64), "slerp_common",
                 ("none", math.inf)).double().flatten()
    sine = torch.sin((1 - t) * angle) / torch.sin(angle), torch.sin(t * angle) / torch.sin(angle)
    torch.testing.assert_close(common, sine[0] * latents[0].double().flatten()
                               + sine[1] * latents[1].double().flatten(), rtol=1e-4, atol=1e-4)
    equal = latents / norms(latents)[:, None, None, None].float() * 16
    torch.testing.assert_close(*(mix(equal, torch.tensor([[1 - t, t]]), method, ("none", math.inf))
                                 for method in ("slerp", "slerp_common")))


@pytest.mark.parametrize("method", ["slerp", "slerp_common"])
def test_nearly_opposite_inputs_stay_on_the_sphere(method):
    """The linear mixture of these all but cancels, and slerp goes half round the sphere."""
    one, across = (noise(2, 3).double()[index: index + 1] for index in range(2))
    other = -one + 1e-4 * across
    other *= one.norm() / other.norm()
    latents = torch.cat([one, other])
    middle = mix(latents, torch.tensor([[0.5, 0.5]], dtype=torch.float64), method, ("none", math.inf))
    assert (latents.mean(0).norm() / one.norm()) < 1e-3
    assert norms(middle).item() == pytest.approx(one.norm().item(), rel=1e-5)


def test_the_common_slerp_leaves_the_range_of_the_inputs_norms():
    """What section 3.3 of the paper warns of, here with inputs at 30 degrees and norms 1 and 2 (times 16)."""
    first, second = torch.zeros(2, 256)
    first[0], second[0], second[1] = 16, 32 * math.cos(2.6), 32 * math.sin(2.6)
    latents = torch.stack([first, second]).reshape(2, *SHAPE)
    rows = torch.linspace(0, 1, 101)[:, None] * torch.tensor([-1.0, 1.0]) + torch.tensor([1.0, 0.0])
    assert norms(mix(latents, rows, "slerp_common", ("none", math.inf))).max() > 40
    true = norms(mix(latents, rows, "slerp", ("none", math.inf)))
    assert 16 - 1e-3 < true.min() and true.max() < 32 + 1e-3


ENDS = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]], dtype=torch.float64)


def test_coefficients_are_shoemakes_on_directions_or_on_the_vectors():
    row = torch.tensor([0.25, 0.75, 0.0], dtype=torch.float64)
    factors = torch.tensor([math.sin(math.pi / 8), math.sin(3 * math.pi / 8), 0.0], dtype=torch.float64)
    torch.testing.assert_close(slerp_coefficients(ENDS, row, keep_lengths=True), factors)
    # The norm 0.25 * 2 + 0.75 * 1 on the directions.
    torch.testing.assert_close(slerp_coefficients(ENDS, row),
                               1.25 * factors / torch.tensor([2.0, 1.0, 1.0], dtype=torch.float64))


def test_one_input_and_inputs_of_one_direction_are_mixed_linearly():
    row = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    assert torch.equal(slerp_coefficients(ENDS, row), row)
    row = torch.tensor([0.5, 0.5], dtype=torch.float64)
    torch.testing.assert_close(slerp_coefficients(ENDS[[0, 0]], row), row)
    assert torch.equal(slerp_coefficients(torch.zeros(2, 3, dtype=torch.float64), row), row)


@pytest.mark.parametrize("row, message", [
    ([0.2, 0.3, 0.5], "Row 7 of the weights gives weight to 3 latents, but slerp joins two"),
    ([0.5, 0.0, 0.5], "two latents in row 7 of the weights point in opposite directions")])
def test_rows_that_slerp_cannot_join(row, message):
    with pytest.raises(ValueError, match=message):
        slerp_coefficients(ENDS, torch.tensor(row, dtype=torch.float64), number=7)


def test_an_input_without_noise_has_no_direction():
    with pytest.raises(ValueError, match="Slerp in row 1 of the weights starts from a latent without noise"):
        slerp_coefficients(ENDS * torch.tensor([[0.0], [1.0], [1.0]]), torch.tensor([0.5, 0.5, 0.0]).double())
