import dataclasses
import errno
import os
import time
from pathlib import Path

import pytest
import safetensors
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
    assert [path.name for path in state.folder.iterdir()] == [state.path.name] and state.path.match("*.abc.safetensors")


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
def of_model(state, shift):
    """The state of the same run on a model whose answers differ by `shift`."""
    return dataclasses.replace(state, fingerprint=state.fingerprint + shift)


def test_each_model_keeps_its_state_of_the_same_run(state):
    other = of_model(state, 0.01)
    state.save({"latents": torch.zeros(1)}, {"of": "one"})
    other.save({"latents": torch.ones(1)}, {"of": "other"})
    assert (state.load()[1], other.load()[1]) == ({"of": "one"}, {"of": "other"})
    assert sorted(execution.saved_states(state.folder, "abc")) == sorted([state.path, other.path])
    other.remove()
    assert other.load() is None and state.load() is not None


def test_the_nearest_of_several_models_within_the_tolerance_is_taken(state):
    for number in range(4):
        dataclasses.replace(of_model(state, number / 1000), tolerance=0).save({}, {"model": number})
    coarse = dataclasses.replace(state, tolerance=0.01)
    assert len(execution.saved_states(state.folder, "abc")) == 4
    for number in range(4):
        near = of_model(coarse, number / 1000 + 0.0002)
        assert near.load()[1] == {"model": number}
        near.save({}, {"model": number})
    assert len(execution.saved_states(state.folder, "abc")) == 4, "saved where it was found"
    assert of_model(coarse, 0.1).load() is None


def test_every_row_of_a_fingerprint_has_to_fit(state):
    """A patch of part of the schedule changes the answers at one noise level, which may be small ones."""
    rows = torch.stack([1000 * state.fingerprint, state.fingerprint, torch.zeros(50)])
    saved = dataclasses.replace(state, fingerprint=rows)
    saved.save({}, {})
    assert saved.load() is not None
    for row, change in ((0, 1.0), (1, 1e-3), (2, 1e-9)):
        changed = rows.clone()
        changed[row, 7] += change
        assert dataclasses.replace(saved, fingerprint=changed).load() is None
    assert dataclasses.replace(saved, fingerprint=rows[:2]).load() is None
    unknown = dataclasses.replace(saved, fingerprint=rows.clone().fill_(float("nan")))
    unknown.save({}, {})
    assert unknown.load() is None


def test_files_of_earlier_versions_are_read(state):
    state.save({}, {"step": 1})
    state.path.rename(state.folder / "abc.safetensors")
    assert state.load()[1] == {"step": 1}
    state.save({}, {"step": 2})
    assert [path.name for path in state.folder.iterdir()] == ["abc.safetensors"] and state.load()[1] == {"step": 2}


def test_keys_are_taken_as_they_are(state):
    odd = [dataclasses.replace(state, key=key) for key in ("a[b]c", "a*c", "abc", "bc")]
    for number, place in enumerate(odd):
        place.save({}, {"number": number})
    assert [place.load()[1]["number"] for place in odd] == [0, 1, 2, 3]


def test_loading_counts_as_use(state):
    state.save({}, {})
    long_ago = time.time() - 20 * 86400
    os.utime(state.path, (long_ago, long_ago))
    assert execution.RunState(state.folder, "abc", state.fingerprint + 1).load() is None
    assert state.path.stat().st_mtime < time.time() - 86400, "not by another model"
    state.load()
    assert execution.clean_states(state.folder) == [] and state.path.stat().st_mtime > time.time() - 60


@pytest.fixture
def failing(monkeypatch):
    """Lets calls of a function of a module fail as long as `times` are left."""
    def fail(owner, name, error, times=10**9):
        original, left = getattr(owner, name), [times]

        def call(*arguments, **options):
            left[0] -= 1
            if left[0] >= 0:
                raise error
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, call)
    return fail


PASSING = [OSError(errno.ENOMEM, "Cannot allocate memory"), OSError(errno.EIO, "Input/output error"),
           PermissionError(errno.EACCES, "locked by another process"), MemoryError(),
           RuntimeError("DefaultCPUAllocator: can't allocate memory"),
           safetensors.SafetensorError("Error while deserializing header: cannot map")]


@pytest.mark.parametrize("error", PASSING, ids=lambda error: type(error).__name__)
def test_a_passing_error_leaves_a_good_state(state, failing, monkeypatch, caplog, error):
    state.save({"latents": torch.ones(3)}, {"step": 5})
    content, path = state.path.read_bytes(), state.path
    failing(safetensors, "safe_open", error)
    assert state.load() is None and "cannot be read for now" in caplog.text
    for step in range(3):
        state.save({"latents": torch.zeros(3)}, {"step": step})
    assert path.read_bytes() == content, "neither removed nor replaced by the beginning of another run"
    assert state.path != path and sorted(execution.saved_states(state.folder, "abc")) == sorted([state.path, path])
    monkeypatch.undo()
    assert execution.RunState(state.folder, "abc", state.fingerprint).load()[1] == {"step": 5}


@pytest.mark.parametrize("seconds, expected", [(5.0, 10.0), (20.0, 20.0)])
def test_of_two_states_of_one_model_that_is_taken_which_took_longer(state, failing, seconds, expected):
    """The older was out of reach for a while, and the run began anew beside it."""
    state.save({}, {"seconds": 10.0})
    failing(safetensors, "safe_open", OSError(errno.EIO, "Input/output error"), times=3)
    assert state.load() is None
    state.save({}, {"seconds": seconds})
    again = execution.RunState(state.folder, "abc", state.fingerprint)
    assert len(execution.saved_states(state.folder, "abc")) == 2 and again.load()[1] == {"seconds": expected}


def test_the_files_of_other_models_are_read_once_and_not_at_each_save(state, monkeypatch):
    for number in range(1, 4):
        of_model(state, number / 100).save({}, {"model": number})
    opened, original = [], safetensors.safe_open
    monkeypatch.setattr(safetensors, "safe_open", lambda *given, **options: opened.append(given) or
                        original(*given, **options))
    for step in range(5):
        state.save({}, {"step": step})
    assert len(opened) == 3
    assert state.load()[1] == {"step": 4} and len(execution.saved_states(state.folder, "abc")) == 4
    opened.clear()
    for step in range(5):
        state.save({}, {"step": step})
    assert not opened and dataclasses.replace(state, key="other").path != state.path


def test_what_is_over_at_the_next_try_is_no_trouble(state, failing):
    state.save({}, {"step": 5})
    failing(safetensors, "safe_open", OSError(errno.EIO, "Input/output error"), times=2)
    assert state.load()[1] == {"step": 5}


def test_a_state_that_another_server_removes_meanwhile(state, monkeypatch):
    state.save({}, {})
    listed = execution.saved_states(state.folder, "abc")
    state.remove()
    monkeypatch.setattr(Path, "glob", lambda folder, pattern: iter(listed))
    assert state.load() is None and not state.unreadable


READ_ONLY = OSError(errno.EROFS, "Read-only file system")


def test_a_damaged_state_that_cannot_be_removed_ends_nothing(state, failing, caplog):
    state.save({"latents": torch.zeros(1000)}, {})
    state.path.write_bytes(state.path.read_bytes()[:200])
    failing(Path, "unlink", READ_ONLY)
    assert state.load() is None and "cannot be removed" in caplog.text
    state.save({"latents": torch.zeros(1000)}, {"step": 1})
    state.remove()


@pytest.mark.parametrize("name", ["mkdir", "unlink", "glob", "stat", "exists"])
def test_whatever_the_disk_refuses_saving_goes_on(state, failing, name):
    state.save({"latents": torch.ones(1)}, {"step": 1})
    failing(Path, name, READ_ONLY)
    if name in ("mkdir", "unlink"):
        failing(os, "replace", READ_ONLY)
    state.save({"latents": torch.zeros(1)}, {"step": 2})
    state.load()
    state.remove()


def test_a_loop_whose_last_save_fails_returns_its_result(state, failing):
    class Done:
        part = ""

        def packed(self):
            return {"latents": torch.ones(1)}, {}

    def loop():
        yield execution.Event("step", changed=True, closes=True)
        yield execution.Event("step", changed=True)
        return "trained"

    failing(Path, "unlink", READ_ONLY)
    failing(os, "replace", READ_ONLY)
    assert execution.drive(loop(), Done(), [execution.Checkpoint(state)]) == "trained"
