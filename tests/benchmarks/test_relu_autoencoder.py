"""The closed forms that the benchmark of the ReLU autoencoder compares with: stationary, and lower than their
neighbours."""
import importlib.util
import math

import pytest
import torch

import run_benchmark

specification = importlib.util.spec_from_file_location("relu_autoencoder_closed_forms",
                                                       run_benchmark.BENCHMARKS / "representation" / "_autoencoder.py")
forms = importlib.util.module_from_spec(specification)


@pytest.fixture(scope="module", autouse=True)
def loaded():
    import sys

    sys.modules[specification.name] = forms
    specification.loader.exec_module(forms)
    yield
    del sys.modules[specification.name]


def three_apart():
    """Three pictures (3, 40) of norm 6 with negative cosines."""
    pictures = torch.zeros(3, 40)
    pictures[:, :3] = torch.eye(3) - 0.4
    return 6 * torch.nn.functional.normalize(pictures, dim=1)


def weights(values):
    return forms.Autoencoder(values, values)


def test_stored_pictures_have_the_best_gains():
    """Pictures of negative cosine in a unit each: no other length has a lower loss."""
    setting = forms.Setting(sigma=0.1, decay=0.05, width=3)
    pictures = three_apart()
    gains = forms.gain(pictures.square().sum(1), setting, 1 / 3)
    units = torch.nn.functional.normalize(pictures, dim=1)
    best = weights((units * gains[:, None].sqrt()).T)
    torch.testing.assert_close(forms.stored_gains(best, pictures), gains)
    found = forms.loss(best, pictures, setting, draws=3000)
    assert found == pytest.approx(forms.storing_optimum(pictures, setting, 1 / 3), rel=5e-3)
    for factor in (0.97, 1.03):
        assert forms.loss(weights(factor * best.encoder), pictures, setting, draws=3000) > found
    assert (forms.participation(best.code(pictures)) == 1).all()


def test_pictures_in_one_cone_have_a_linear_optimum_that_spreads():
    """With every gate open, units are any rotation of the leading eigenvectors."""
    setting = forms.Setting(sigma=0.1, decay=0.05, width=4)
    generator = torch.Generator().manual_seed(0)
    pictures = 1.5 + 0.2 * torch.randn(60, 12, generator=generator)
    denoiser, lowest = forms.linear_optimum(pictures, setting)
    values, vectors = torch.linalg.eigh(denoiser.double())
    root = (vectors[:, -4:] * values[-4:].clamp_min(0).sqrt()).float()  # (d, 4)
    spread = torch.tensor([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2.0
    root = root * root.sum(0).sign()
    network = weights(root.flip(1) @ spread)
    assert (network.code(pictures) > 0).all()
    torch.testing.assert_close(network.decoder @ network.encoder.T, denoiser, rtol=1e-3, atol=1e-3)
    assert forms.loss(network, pictures, setting, draws=2000) == pytest.approx(lowest, rel=5e-3)
    assert forms.participation(network.code(pictures)).min() > 3
    one = pictures[:1].double()
    assert forms.storing_optimum(one, setting, 1.0) == pytest.approx(forms.linear_optimum(one, setting)[1], rel=1e-6)


def test_units_that_point_the_same_way_are_one():
    generator = torch.Generator().manual_seed(1)
    unit, other = torch.randn(2, 10, generator=generator)
    network = weights(torch.stack([0.6 * unit, 0.8 * unit, other, 0 * unit, 1e-20 * other], dim=1))
    merged, noise = forms.merged(network), torch.randn(5, 10, generator=generator)
    torch.testing.assert_close(merged(noise), network(noise), rtol=1e-5, atol=1e-5)
    assert sorted(merged.encoder.norm(dim=0).tolist()) == pytest.approx(
        sorted([unit.norm().item(), other.norm().item()]), rel=1e-5)


def test_training_stores_few_pictures():
    setting = forms.Setting(sigma=0.1, decay=0.05, width=12, steps=800, batch=32, rate=1e-2)
    pictures = three_apart()
    network = forms.train(pictures, setting, 0)
    assert forms.loss(network, pictures, setting, draws=500) == pytest.approx(
        forms.storing_optimum(pictures, setting, 1 / 3), rel=0.1)
    assert math.isclose(forms.train(pictures, setting, 0).encoder.sum().item(), network.encoder.sum().item())


def test_measures_of_codes():
    codes = torch.tensor([[3.0, 0, 0, 0], [1, 1, 1, 1]])
    assert forms.participation(codes).tolist() == [1, 4]
    assert forms.spikiness(codes).tolist() == pytest.approx([math.sqrt(3), 0])


def test_what_is_seen_once_holds_nothing_that_is_repeated():
    assert forms.without(torch.arange(5.0)[:, None], [3, 1]).flatten().tolist() == [0, 2, 4]
