"""Inception by torch-fidelity: what goes in and comes out, and with the package its own numbers."""
import importlib
import sys
from unittest import mock

import pytest
import torch
from safetensors.torch import load_file, save_file

import convert_weights
from mental_averages.dma import encoders
from mental_averages.dma.metrics import frechet_distance, kernel_subsets

PUBLISHED = {"Conv2d_1a_3x3.conv.weight": torch.zeros(32, 3, 3, 3), "fc.weight": torch.ones(1008, 2048)}


class Means(torch.nn.Module):
    """A network that takes what torch-fidelity's takes: the mean of each channel, and the highest value of all."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, pixels):
        assert pixels.dtype == torch.uint8 and pixels.shape[1] == 3
        values = self.scale * pixels.float()
        return (torch.cat([values.mean(dim=(2, 3)), values.amax(dim=(1, 2, 3))[:, None]], 1),)


def test_features_are_of_pictures_rounded_to_8_bits_and_not_scaled():
    pictures = torch.zeros(5, 2, 2, 4)
    pictures[..., 0], pictures[..., 1], pictures[..., 2] = 0.5, 1.2, 0.1
    pictures[3] = -1.0
    told = []
    found = encoders.inception_features(Means(), pictures, watchers=[lambda event, state: told.append(event.row)])
    assert found[0].tolist() == [128, 255, 26, 255] and found[3].tolist() == [0, 0, 0, 0] and told == [5]
    assert found.shape == (5, 4) and not found.requires_grad
    with pytest.raises(ValueError, match="NaN"):
        encoders.inception_features(Means(), torch.full((1, 2, 2, 3), float("nan")))


def test_published_weights_become_safetensors_and_others_are_refused(tmp_path, capsys):
    torch.save(PUBLISHED, tmp_path / "published.pth")
    arguments = [str(tmp_path / "published.pth"), str(tmp_path / "a" / "b.safetensors")]
    assert convert_weights.main(["inception", *arguments]) == 0
    assert "is ready" in capsys.readouterr().out
    found = load_file(tmp_path / "a" / "b.safetensors")
    assert found.keys() == PUBLISHED.keys() and all(torch.equal(found[name], PUBLISHED[name]) for name in found)
    for wrong in ({}, {**PUBLISHED, "fc.weight": torch.ones(1000, 2048)}):
        torch.save(wrong, tmp_path / "wrong.pth")
        with pytest.raises(ValueError, match="not the file that torch-fidelity publishes"):
            encoders.write_inception(tmp_path / "wrong.pth", tmp_path / "c.safetensors")
    torch.save({"network": torch.nn.Linear(1, 1)}, tmp_path / "code.pth")
    with pytest.raises(ValueError, match="more than plain tensors"):
        encoders.write_inception(tmp_path / "code.pth", tmp_path / "c.safetensors")
    assert not (tmp_path / "c.safetensors").exists()


def test_without_the_package_it_is_said_how_to_install_it(tmp_path):
    with mock.patch.dict(sys.modules, {"torch_fidelity": None}), pytest.raises(
            ValueError, match="take the package torch-fidelity .*pip install torch-fidelity==0.4.0"):
        encoders.load_inception(tmp_path / "inception.safetensors")


def test_numbers_are_those_of_the_package(tmp_path):
    """With the package alone, which is no part of the pinned environment; metric_parity.py compares more."""
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    torch.save({}, tmp_path / "random.pth")
    torch.manual_seed(0)
    with mock.patch.object(module.FeatureExtractorInceptionV3, "load_state_dict"):
        made = module.FeatureExtractorInceptionV3("a", ["2048"], feature_extractor_weights_path=tmp_path / "random.pth")
    for parameter in made.parameters():
        if parameter.ndim == 4:
            parameter.normal_(std=(2 / parameter[0].numel()) ** 0.5)
    torch.save(made.state_dict(), tmp_path / "random.pth")
    encoders.write_inception(tmp_path / "random.pth", tmp_path / "inception.safetensors")
    network = encoders.load_inception(tmp_path / "inception.safetensors")
    pixels = [torch.randint(0, limit, (8, 3, 24, 24), dtype=torch.uint8) for limit in (256, 128)]
    features = [encoders.inception_features(network, each.permute(0, 2, 3, 1) / 255) for each in pixels]
    assert torch.equal(features[0], made(pixels[0])[0])
    statistics = [module_of("metric_fid").fid_features_to_statistics(each) for each in features]
    fid = module_of("metric_fid").fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"]
    assert frechet_distance(*features) == pytest.approx(fid, rel=1e-3)  # its roots are of eigenvalues near 0
    kid = module_of("metric_kid").kid_features_to_metric(*(each.double() for each in features), kid_subsets=3,
                                                         kid_subset_size=6, rng_seed=1, verbose=False)
    assert kernel_subsets(*features, subsets=3, size=6, seed=1).mean == pytest.approx(
        kid["kernel_inception_distance_mean"], rel=1e-9)


def module_of(name):
    return importlib.import_module(f"torch_fidelity.{name}")


def test_files_of_other_networks_are_refused(tmp_path):
    pytest.importorskip("torch_fidelity")
    with pytest.raises(ValueError, match="There is no file"):
        encoders.load_inception(tmp_path / "none.safetensors")
    save_file(PUBLISHED, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="damaged or of another network"):
        encoders.load_inception(tmp_path / "other.safetensors")
