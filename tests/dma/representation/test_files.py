"""The file of a representation: round trip, format, damage."""
import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from mental_averages.dma.representation import Representation, load_representation, save_representation

SETTINGS = {"layer": "middle_block", "sigmas": [2.5, 0.0], "draws": 4, "seed": 7, "pooling": "2x2", "shape": [4, 8, 8]}


def write(path, means, settings=SETTINGS, name="mental-averages/representation-1"):
    save_file({"means": means, "fingerprint": torch.ones(2, 5)}, path,
              metadata={"format": name, "settings": json.dumps(settings)})


def test_round_trip(tmp_path):
    path = tmp_path / "faces.safetensors"
    # Not contiguous, as a part of a larger one is.
    means = torch.randn(2, 3, 6, 2, 2).transpose(0, 1)
    found = Representation(means, "middle_block", (2.5, 0.0), 4, 2**63 + 1, "2x2", (4, 8, 8), torch.randn(2, 5))
    save_representation(found, path)
    again = load_representation(path)
    assert torch.equal(again.means, means) and torch.equal(again.fingerprint, found.fingerprint)
    assert all(getattr(again, name) == getattr(found, name) for name in SETTINGS)
    assert [each.name for each in tmp_path.iterdir()] == ["faces.safetensors"]


def test_the_format_is_that_of_the_first_release(tmp_path):
    path = tmp_path / "old.safetensors"
    write(path, torch.ones(3, 2, 6, 2, 2))
    found = load_representation(path)
    assert (found.layer, found.sigmas, found.draws, found.seed, found.pooling, found.shape) == (
        "middle_block", (2.5, 0.0), 4, 7, "2x2", (4, 8, 8))
    save_representation(found, tmp_path / "again.safetensors")
    with safe_open(tmp_path / "again.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["settings"]) == SETTINGS and sorted(file.keys()) == ["fingerprint", "means"]


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    path.write_bytes(b"12345678 not this")
    with pytest.raises(ValueError, match="other.safetensors is not a whole safetensors file"):
        load_representation(path)
    write(path, torch.ones(1, 2, 3), name="mental-averages/features-1")
    with pytest.raises(ValueError, match="does not hold a representation"):
        load_representation(path)
    for broken in (torch.ones(1, 3, 3), torch.full((1, 2, 3), torch.nan)):
        write(path, broken)
        with pytest.raises(ValueError, match="damaged|NaN"):
            load_representation(path)


@pytest.mark.parametrize("settings", [{}, {**SETTINGS, "more": 1}, [], "text",
                                      {name: value for name, value in SETTINGS.items() if name != "sigmas"}])
def test_one_that_does_not_say_how_it_was_read_is_refused(tmp_path, settings):
    path = tmp_path / "cut.safetensors"
    write(path, torch.ones(3, 2, 6, 2, 2), settings)
    with pytest.raises(ValueError, match="cut.safetensors holds a damaged representation"):
        load_representation(path)
