import pytest
import torch

from mental_averages.dma.metrics._finite import check_finite_values


def test_values_come_back_and_what_is_not_finite_is_named():
    values = torch.tensor([1.0, -2.0])
    assert check_finite_values(values, "others") is values
    for broken in (torch.nan, torch.inf, -torch.inf):
        with pytest.raises(ValueError, match="others must be finite, but some values are NaN or infinite"):
            check_finite_values(torch.tensor([1.0, broken]), "others")
