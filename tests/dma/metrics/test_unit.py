import math

import pytest
import torch

from mental_averages.dma.metrics import consistency, sameness, unit_rows


def test_rows_get_unit_length_in_double():
    rows = torch.randn(4, 5, generator=torch.Generator().manual_seed(0)).bfloat16().requires_grad_()
    found = unit_rows(rows)
    assert found.dtype == torch.float64 and not found.requires_grad
    torch.testing.assert_close(found.norm(dim=1), torch.ones(4, dtype=torch.float64), rtol=1e-12, atol=0)
    torch.testing.assert_close(found * rows.detach().double().norm(dim=1, keepdim=True), rows.detach().double())


@pytest.mark.parametrize("kind, size", [(torch.float64, 1e200), (torch.float64, 1e-200), (torch.float64, 1e-315),
                                        (torch.float32, 1e30), (torch.float32, 1e-30)])
def test_rows_whose_squares_overflow_or_vanish_get_unit_length(kind, size):
    rows = torch.randn(4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(kind)
    torch.testing.assert_close(unit_rows(size * rows), unit_rows(rows), rtol=0, atol=1e-6)
    assert consistency(size * rows).value == pytest.approx(consistency(rows).value, abs=1e-6)
    assert sameness(size * rows) == pytest.approx(sameness(rows), abs=1e-6)


@pytest.mark.parametrize("rows, complaint", [
    (torch.ones(3), "features must be a matrix"), (torch.ones(0, 3), "one or more"), (torch.ones(3, 0), "one or more"),
    (torch.full((2, 2), math.nan), "NaN"), (torch.full((2, 2), math.inf), "infinite"),
    (torch.tensor([[1.0], [0.0]]), "no direction")])
def test_what_has_no_direction_is_refused(rows, complaint):
    with pytest.raises(ValueError, match=complaint):
        unit_rows(rows)
