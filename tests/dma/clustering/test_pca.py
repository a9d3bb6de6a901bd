import numpy as np
import pytest
import torch
from blobs import blobs
from peak_memory import largest_made_by

from mental_averages.dma import clustering


def test_principal_components_against_the_covariance():
    values, _ = blobs((20, 20))
    coordinates, explained = clustering.principal_components(values, 8)
    centred = values.double() - values.double().mean(0)
    eigenvalues = torch.linalg.eigvalsh(centred.T @ centred).flip(0)
    torch.testing.assert_close(torch.tensor(explained), (eigenvalues / eigenvalues.sum()).float())
    assert coordinates.square().mean().item() == pytest.approx(1)
    inner, expected = coordinates @ coordinates.T, centred @ centred.T
    torch.testing.assert_close(inner, expected * (inner.trace() / expected.trace()))
    mirrored, _ = clustering.principal_components(values.flip(1), 8)
    torch.testing.assert_close(mirrored, coordinates)


def test_share_of_variance_keeps_as_few_axes_as_it_takes():
    values, _ = blobs((20, 20))
    _, everything = clustering.principal_components(values, 100)
    for share in (0.3, 0.7, 0.95):
        coordinates, explained = clustering.principal_components(values, 100, variance_share=share)
        assert sum(explained) >= share > sum(everything[: len(explained) - 1])
        assert coordinates.shape[1] == len(explained)
    assert clustering.principal_components(values, 2)[0].shape[1] == 2


def test_embeddings_that_are_all_the_same_have_no_axes():
    for values in (torch.ones(20, 4), torch.zeros(2, 4), torch.ones(20, 4) + 1e-7 * torch.eye(20, 4)):
        with pytest.raises(ValueError, match=f"All {len(values)} pictures have the same embedding"):
            clustering.principal_components(values, 2)


@pytest.mark.parametrize("count, width", [(30, 9), (9, 30), (12, 12), (5, 900_000), (1_100_000, 4)])
def test_block_by_block_is_as_exact_as_at_once(count, width):
    generator = torch.Generator().manual_seed(3)
    scales = torch.logspace(0, -4, min(count, width))
    values = torch.randn(count, len(scales), generator=generator) * scales @ torch.randn(len(scales), width,
                                                                                         generator=generator)
    coordinates, explained = clustering.principal_components(values, 8)
    centred = values.double().numpy() - values.double().numpy().mean(0)
    left, singular, axes = np.linalg.svd(centred, full_matrices=False)
    expected = left[:, :8] * singular[:8]
    expected = expected / np.sqrt((expected[:, : coordinates.shape[1]] ** 2).mean())
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])
    kept = coordinates.shape[1]
    np.testing.assert_allclose(coordinates.numpy(), (expected * signs[:8])[:, :kept], rtol=0, atol=1e-9)
    np.testing.assert_allclose(explained, (singular**2 / (singular**2).sum())[:kept], rtol=1e-9)


@pytest.mark.parametrize("count, width", [(16, 2**21)])
def test_no_copy_of_all_embeddings_is_made(count, width):
    """In fp64 there were two copies of them, their squares, and the axes."""
    values = torch.rand(count, width)
    assert largest_made_by(lambda: clustering.principal_components(values, 4)) < 1.8 * values.nbytes
