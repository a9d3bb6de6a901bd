"""Norms of latents one by one."""
import pytest
import torch

from mental_averages.dma.inversion._norms import nominal_norms, relative_distances, row_norms


def test_rows_are_measured_alone_and_never_zero():
    x = torch.zeros(3, 2, 2, 2)
    x[1], x[2] = 1.0, 3.0
    found = row_norms(x)
    assert found[1:].tolist() == pytest.approx([8**0.5, 3 * 8**0.5]) and 0 < found[0] < 1e-30


def test_distances_are_relative_to_the_reference():
    reference = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    assert relative_distances(1.1 * reference, reference).tolist() == pytest.approx([0.1, 0.1], rel=1e-4)
    assert torch.isfinite(relative_distances(0 * reference, 0 * reference)).all()


def test_standard_normal_noise_has_the_nominal_norm():
    noise = torch.randn(2, 4, 64, 64, generator=torch.Generator().manual_seed(0))
    assert nominal_norms(noise) == pytest.approx([1.0, 1.0], abs=0.03)
