import os
import time

import pytest
import torch

from mental_averages.dma import execution


@pytest.fixture
def state(tmp_path):
    return execution.RunState(tmp_path / "runs", "abc", torch.linspace(-1, 1, 50))


def test_round_trip(state):
    assert state.load() is None
    tensors, meta = {"latents": torch.randn(3, 4, 2, 2),
                     "matched": torch.arange(3)}, {"step": 2, "records": [{"a": 1.5}]}
    state.save(tensors, meta)
    found, found_meta = state.load()
    assert found_meta == meta
    for name in tensors:
        torch.testing.assert_close(found[name], tensors[name], rtol=0, atol=0)
    assert [path.name for path in state.folder.iterdir()] == ["abc.safetensors"]


def test_another_model_starts_anew(state):
    state.save({"latents": torch.zeros(1)}, {})
    assert execution.RunState(state.folder, "abc", state.fingerprint + 0.01).load() is None
    assert execution.RunState(state.folder, "abc", state.fingerprint * (1 + 1e-7)).load() is not None


@pytest.mark.parametrize("damage", [b"", b"not safetensors at all", None])
def test_damaged_files_are_removed(state, damage):
    state.save({"latents": torch.zeros(1000)}, {})
    content = state.path.read_bytes()
    state.path.write_bytes(content[:200] if damage is None else damage)
    assert state.load() is None and not state.path.exists()


def test_file_of_another_kind_is_not_taken(state):
    from safetensors.torch import save_file

    state.folder.mkdir(parents=True)
    save_file({"latents": torch.zeros(1)}, state.path)
    assert state.load() is None


def test_failed_write_keeps_the_last_state(state, monkeypatch, caplog):
    state.save({"latents": torch.ones(1)}, {"step": 1})
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    state.save({"latents": torch.zeros(1)}, {"step": 2})
    assert "could not be saved" in caplog.text
    assert state.load()[1] == {"step": 1}
    assert len(list(state.folder.iterdir())) == 1


def test_clean_by_age_and_size(tmp_path):
    now = time.time()
    for name, size, days in (("old", 10, 20), ("big", 600, 3), ("middle", 300, 2), ("new", 300, 1), ("mine", 10, 30)):
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(b"x" * size)
        os.utime(path, (now - days * 86400,) * 2)
    (tmp_path / "else.txt").write_text("not ours")
    removed = execution.clean_states(tmp_path, keep="mine", longest_age_days=14, largest_total_bytes=700)
    assert removed == ["old.safetensors", "big.safetensors"]
    assert (tmp_path / "else.txt").exists() and (tmp_path / "mine.safetensors").exists()
    assert execution.clean_states(tmp_path / "missing") == []


def test_key_depends_on_every_setting_and_tensor():
    key, zeros = execution.run_key, torch.zeros(3)
    base = key({"seed": 1}, {"a": zeros})
    assert base == key({"seed": 1}, {"a": zeros.clone()})
    others = [key({"seed": 2}, {"a": zeros}), key({"seed": 1}, {"a": torch.ones(3)}), key({"seed": 1}, {"b": zeros}),
              key({"seed": 1}, {"a": zeros[:, None]})]
    assert len({base, *others}) == 5


@pytest.mark.parametrize("value", [torch.tensor(0.5), torch.tensor(3), torch.tensor(True), torch.empty(0, 4),
                                   torch.empty(2, 0).bfloat16()])
def test_key_of_tensors_without_dimensions_or_elements(value):
    """A number in a conditioning is a tensor without dimensions."""
    key = execution.run_key({}, {"a": value})
    assert key == execution.run_key({}, {"a": value.clone()}) != execution.run_key({}, {"a": value.unsqueeze(0)})
    if value.numel():
        assert key != execution.run_key({}, {"a": value == 0})


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_not_finite_is_neither_kept_nor_taken_up(state, value, caplog):
    from safetensors import safe_open
    from safetensors.torch import save_file

    state.save({"latents": torch.ones(2)}, {"step": 1})
    state.save({"latents": torch.tensor([1.0, value])}, {"step": 2})
    assert state.load()[1] == {"step": 1} and "is not saved" in caplog.text
    with safe_open(state.path, framework="pt") as file:
        header, fingerprint = file.metadata(), file.get_tensor("fingerprint")
    save_file({"latents": torch.tensor([1.0, value]), "fingerprint": fingerprint}, state.path, metadata=header)
    assert state.load() is None and not state.path.exists()
