import pytest
import torch

from mental_averages.dma.metrics._samples import checked_samples


def test_features_come_back_in_double_precision_without_gradient():
    rows = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    first, second = checked_samples(rows, rows.detach()[:2].half())
    assert first.dtype == second.dtype == torch.float64 and not first.requires_grad
    assert torch.equal(first, rows.detach().double()) and second.shape == (2, 4)


GOOD = torch.zeros(2, 3)


@pytest.mark.parametrize("features, others, message", [
    (torch.zeros(3), GOOD, "features must be a matrix"), (GOOD, torch.zeros(2, 3, 1), "others must be a matrix"),
    (torch.zeros(1, 3), GOOD, "features must have at least two rows"),
    (GOOD, torch.zeros(0, 3), "others must have at least two rows.*not 0"),
    (GOOD, torch.full((2, 3), float("inf")), "others must be finite"),
    (torch.full((2, 3), float("nan")), GOOD, "features must be finite"),
    (GOOD, torch.zeros(2, 4), "not 3 and 4"), (torch.zeros(2, 0), torch.zeros(2, 0), "at least one, not 0 and 0")])
def test_samples_without_a_distance_are_refused(features, others, message):
    with pytest.raises(ValueError, match=message):
        checked_samples(features, others)
