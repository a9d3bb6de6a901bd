import numpy as np
import pytest
import torch

from mental_averages.dma.metrics import trailing_variance


def test_the_equation():
    predictions = [torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(step)) for step in range(6)]
    expected = np.stack([each.double().numpy() for each in predictions]).var(axis=0).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(trailing_variance(predictions).numpy(), expected, rtol=1e-5)


def test_closed_form_of_gaussian_data():
    """On the exact ODE of N(0, v) the prediction is x0(s) = c / sqrt(v + s^2)."""
    levels, v, c = torch.tensor([1.0, 0.5, 0.2]), 0.25, torch.tensor([[1.0], [3.0]])
    predictions = [c / (v + level**2).sqrt() for level in levels]
    spread = (1 / (v + levels**2).sqrt()).var(correction=0)
    torch.testing.assert_close(trailing_variance(predictions), spread * c[:, 0].square())


@pytest.mark.parametrize("dtype, tolerance", [(torch.float16, 1e-2), (torch.bfloat16, 1e-1), (torch.float64, 1e-12)])
def test_precisions(dtype, tolerance):
    predictions = [torch.randn(2, 8, generator=torch.Generator().manual_seed(step)).to(dtype) for step in range(3)]
    expected = torch.stack([each.double() for each in predictions]).var(0, correction=0).mean(1)
    found = trailing_variance(predictions)
    assert found.dtype == (torch.float64 if dtype is torch.float64 else torch.float32)
    torch.testing.assert_close(found.double(), expected, rtol=min(tolerance, 1e-5), atol=1e-6)


def test_what_hardly_moves_is_not_lost_beside_its_size():
    base, moves = torch.full((1, 4), 1000.0), torch.tensor([0.0, 1e-2, 2e-2])
    found = trailing_variance([base + move for move in moves])
    assert found.item() == pytest.approx(moves.double().var(correction=0).item(), rel=1e-2)


def test_a_latent_has_its_score_whatever_is_beside_it():
    predictions = [torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(step)) for step in range(4)]
    alone = torch.cat([trailing_variance([each[row : row + 1] for each in predictions]) for row in range(4)])
    torch.testing.assert_close(trailing_variance(predictions), alone)
    assert trailing_variance([torch.ones(2, 3)] * 3).tolist() == [0, 0]


@pytest.mark.parametrize("predictions, message", [
    ([], "0 steps"), ([torch.ones(1, 2)], "1 steps, but a variance needs 2"),
    ([torch.ones(1, 2), torch.ones(2, 2)], "one shape"), ([torch.ones(3), torch.ones(3)], "one shape"),
    ([torch.ones(1, 2), torch.full((1, 2), torch.nan)], "must be finite"),
    ([torch.full((1, 2), 3e19), torch.full((1, 2), -3e19)], "squares overflow")])
def test_what_makes_no_sense_is_refused(predictions, message):
    with pytest.raises(ValueError, match=message):
        trailing_variance(predictions)
