import errno
import os
import time
from pathlib import Path

import pytest
import torch

from mental_averages.dma import execution


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


@pytest.fixture
def old(tmp_path):
    """Files of a folder of states, all of them from a month ago."""
    def made(*names):
        for name in names:
            (tmp_path / name).write_bytes(b"x" * 10)
            os.utime(tmp_path / name, (time.time() - 30 * 86400,) * 2)
        return tmp_path
    return made


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def test_states_of_all_models_of_the_kept_run_stay(old):
    folder = old("m1.mine.safetensors", "m2.mine-mode-0.safetensors", "mine.safetensors", "m1.other.safetensors",
                 "mine.other.safetensors")
    assert execution.clean_states(folder, keep="mine") == ["m1.other.safetensors", "mine.other.safetensors"]
    assert len(left(folder)) == 3


def test_keeping_nothing_keeps_nothing(old):
    assert len(execution.clean_states(old("m1.a.safetensors", "b.safetensors"))) == 2


def test_abandoned_temporary_files(old):
    """Ours, and those that safetensors itself leaves when its process is killed."""
    folder = old("m.a.safetensors.12.34.ab.tmp", ".tmpSzdNi3")
    for name in ("m.b.safetensors.12.34.ab.tmp", ".tmpabcdef"):
        (folder / name).write_bytes(b"x" * 1000)
    assert len(execution.clean_states(folder, keep="m", largest_total_bytes=10)) == 2
    assert left(folder) == [".tmpabcdef", "m.b.safetensors.12.34.ab.tmp"], "others are being written to"


@pytest.mark.parametrize("error", [OSError(errno.EROFS, "Read-only file system"), PermissionError("in use")])
@pytest.mark.parametrize("name", ["unlink", "stat", "iterdir", "is_dir"])
def test_what_cannot_be_cleaned_is_left(old, monkeypatch, caplog, error, name):
    folder = old("a.safetensors", "b.safetensors")
    monkeypatch.setattr(Path, name, lambda *_, **__: (_ for _ in ()).throw(error))
    with caplog.at_level("INFO"):
        assert execution.clean_states(folder) == []
    monkeypatch.undo()
    assert left(folder) == ["a.safetensors", "b.safetensors"] and str(error) in caplog.text


def test_one_that_cannot_be_removed_does_not_save_the_others(old, monkeypatch):
    folder, unlink = old("a.safetensors", "b.safetensors"), Path.unlink

    def refuse(path, **options):
        if path.name.startswith("a"):
            raise PermissionError("in use")
        unlink(path, **options)

    monkeypatch.setattr(Path, "unlink", refuse)
    assert execution.clean_states(folder) == ["b.safetensors"]


@pytest.mark.parametrize("name", ["stat", "unlink"])
def test_files_that_another_server_renames_or_removes_meanwhile(old, monkeypatch, name):
    folder, original = old("a.safetensors", "b.safetensors", "c.safetensors.1.2.ab.tmp"), getattr(Path, name)

    def vanish(path, **options):
        if path.name != "b.safetensors" and path.suffix:
            os.unlink(path)
        return original(path, **options)

    monkeypatch.setattr(Path, name, vanish)
    assert execution.clean_states(folder) == ["b.safetensors"]


def test_two_servers_on_one_folder(tmp_path):
    """Threads that save, load, remove and clean in one folder at once: no error, and no file is left over."""
    from concurrent.futures import ThreadPoolExecutor

    def work(number):
        state = execution.RunState(tmp_path, f"run{number % 2}", torch.ones(5))
        for step in range(15):
            state.save({"latents": torch.full((100,), float(step))}, {"step": step})
            execution.clean_states(tmp_path, longest_age_days=-1 if number == 3 else 14)
            found = state.load()
            assert found is None or found[0]["latents"].unique().tolist() == [found[1]["step"]]
            if step % 5 == 4:
                state.remove()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert not [path for path in tmp_path.iterdir() if "tmp" in path.name]
