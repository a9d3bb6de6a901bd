import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from mental_averages.dma import hspace


def test_features_round_trip(tmp_path):
    features = hspace.Features(torch.randn(3, 5, 2, 2), "middle_block", "none", 2.5)
    hspace.save_features(features, tmp_path / "features.safetensors")
    found = hspace.load_features(tmp_path / "features.safetensors")
    torch.testing.assert_close(found.values, features.values, rtol=0, atol=0)
    assert (found.layer, found.pooling, found.sigma) == ("middle_block", "none", 2.5)
    (tmp_path / "other.safetensors").write_bytes(b"12345678 not this")
    with pytest.raises(ValueError, match="safetensors"):
        hspace.load_features(tmp_path / "other.safetensors")


def test_files_of_another_kind_are_refused(tmp_path):
    path = tmp_path / "latents.safetensors"
    for metadata in (None, {"format": "something"}):
        save_file({"features": torch.zeros(1)}, path, metadata=metadata)
        with pytest.raises(ValueError, match="latents.safetensors does not hold captured features"):
            hspace.load_features(path)


def test_the_format_is_that_of_the_first_release(tmp_path):
    path = tmp_path / "features.safetensors"
    save_file({"features": torch.ones(2, 3)}, path,
              metadata={"format": "mental-averages/features-1",
                        "settings": '{"layer": "middle_block", "pooling": "mean", "sigma": 2.5}'})
    found = hspace.load_features(path)
    assert torch.equal(found.values, torch.ones(2, 3)) and found.pooling == "mean"
    again = tmp_path / "again.safetensors"
    hspace.save_features(found, again)
    # Not byte by byte: safetensors writes metadata in an order that changes from file to file.
    with safe_open(path, framework="pt") as one, safe_open(again, framework="pt") as other:
        assert one.metadata() == other.metadata() and list(one.keys()) == list(other.keys()) == ["features"]
        assert torch.equal(one.get_tensor("features"), other.get_tensor("features"))
    assert again.stat().st_size == path.stat().st_size


def test_saving_replaces_the_file_and_takes_any_layout(tmp_path):
    path = tmp_path / "features.safetensors"
    for values in (torch.zeros(2, 3), torch.arange(6.0).view(2, 3).T):
        hspace.save_features(hspace.Features(values, "a", "none", 1.0), path)
        assert torch.equal(hspace.load_features(path).values, values)
    assert [found.name for found in tmp_path.iterdir()] == ["features.safetensors"]
