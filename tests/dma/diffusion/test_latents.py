"""Latents that nothing can be done with."""
import pytest
import torch

from mental_averages.dma.diffusion import NotFiniteError, at_step, check_finite, check_latents


def test_latents_of_pictures_pass():
    check_latents(torch.randn(1, 4, 8, 8))


@pytest.mark.parametrize("latents, message", [
    (torch.zeros(1, 16, 3, 8, 8), "four dimensions"), (torch.zeros(4, 8, 8), r"\(4, 8, 8\)"),
    (torch.zeros(0, 4, 8, 8), "batch is empty"), (torch.full((1, 4, 2, 2), torch.nan), "NaN or infinity"),
    (torch.full((1, 4, 2, 2), -torch.inf), "NaN or infinity"),
])
def test_others_are_refused_with_what_is_wrong(latents, message):
    with pytest.raises(ValueError, match=message):
        check_latents(latents)


def test_what_is_not_finite_is_named_with_its_step_and_level():
    broken = torch.zeros(3, 2, 2)
    broken[1, 0, 0], broken[2, 1, 1] = torch.nan, torch.inf
    message = r"^Step 3 of 8: The features at noise level 0.5 contain NaN or infinity \(2 of 3 latents\)\.$"
    with pytest.raises(NotFiniteError, match=message), at_step(3, 8):
        check_finite(broken, "The features", 0.5)
    assert check_finite(broken[:1], "The features", 0.5).shape == (1, 2, 2)
    with pytest.raises(ValueError, match="^Other$"), at_step(3, 8):
        raise ValueError("Other")


def test_rows_of_one_number_that_are_not_finite_are_named():
    """Residuals are (B,)."""
    assert check_finite(torch.ones(3), "The residuals", 1.5).shape == (3,)
    with pytest.raises(NotFiniteError, match="The residuals at noise level 1.5 .* .1 of 3 latents"):
        check_finite(torch.tensor([0.0, torch.inf, 1.0]), "The residuals", 1.5)
