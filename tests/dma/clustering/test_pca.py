import pytest
import torch
from blobs import blobs

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
