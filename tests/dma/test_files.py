import os
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mental_averages.dma.files import inside, replacing


@pytest.mark.parametrize("before", [None, "old"])
def test_a_file_is_replaced_in_one_step(tmp_path, before):
    path = tmp_path / "report.json"
    if before:
        path.write_text(before)
    with replacing(path) as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == ".tmp"
        temporary.write_text("new")
        assert (path.read_text() if before else path.exists()) == (before or False)
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="has no such modes")
@pytest.mark.parametrize("umask, mode", [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_whoever_may_read_a_new_file_may_read_one_of_safetensors(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        with replacing(tmp_path / "mean.safetensors") as temporary:
            save_file({"mean": torch.ones(2)}, temporary)
    finally:
        os.umask(before)
    path = tmp_path / "mean.safetensors"
    assert path.stat().st_mode & 0o777 == mode
    path.chmod(0o640)
    with replacing(path) as temporary:
        save_file({"mean": torch.ones(3)}, temporary)
    assert path.stat().st_mode & 0o777 == 0o640, "as it was"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("written", [True, False])
def test_after_an_error_the_old_file_stays_alone(tmp_path, error, written):
    path = tmp_path / "report.json"
    path.write_text("old")
    with pytest.raises(type(error)), replacing(path) as temporary:
        if written:
            temporary.write_text("half")
        raise error
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_failed_rename_leaves_nothing_behind(tmp_path):
    (tmp_path / "folder" / "full").mkdir(parents=True)
    with pytest.raises(OSError), replacing(tmp_path / "folder") as temporary:
        temporary.write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_nothing_written_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "report.json"):
        pass


def test_threads_and_processes_have_files_of_their_own(tmp_path):
    path, names, together = tmp_path / "report.json", [], threading.Barrier(4)

    def write(number):
        with replacing(path) as temporary:
            names.append(temporary.name)
            temporary.write_text(str(number) * 1000)
            together.wait(timeout=30)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(names)) == 4 and all(str(os.getpid()) in name for name in names)
    assert len(set(path.read_text())) == 1 and len(path.read_text()) == 1000 and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["report", "a/b/c.json", "a/../b", "..b", " "])
def test_names_inside(tmp_path, name):
    found = inside(tmp_path / "root", name)
    assert found == Path(os.path.normpath(tmp_path / "root" / name)) and found.is_relative_to(tmp_path / "root")


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "", ".", "a/..", "a/../../b", "../root2/a"])
def test_names_outside(tmp_path, name):
    with pytest.raises(ValueError, match="is no name of a file inside"):
        inside(tmp_path / "root", name)


def test_links_are_followed(tmp_path):
    for name in ("root/a", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "root" / "out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "back").symlink_to(tmp_path / "root" / "a")
    (tmp_path / "link").symlink_to(tmp_path / "root")
    with pytest.raises(ValueError):
        inside(tmp_path / "root", "out/file")
    assert inside(tmp_path / "root", "back/file") == (tmp_path / "root" / "a" / "file").resolve()
    assert inside(tmp_path / "link", "file") == (tmp_path / "root" / "file").resolve()
    assert inside(tmp_path / "root", str(tmp_path / "link" / "file")) == (tmp_path / "root" / "file").resolve()


@pytest.mark.parametrize("name", ["a\0b", "a" * 300, f"{'a' * 300}/b", "\u4e2d" * 100, "a/" * 3000 + "b"])
def test_names_that_no_file_can_have(tmp_path, name):
    with pytest.raises(ValueError, match="is no name of a file inside"):
        inside(tmp_path, name)


@pytest.mark.parametrize("name", ["a" * 255, "\u4e2d" * 85, "\U0001f431" * 63])
def test_the_longest_names_are_written(tmp_path, name):
    path = inside(tmp_path, name)
    with replacing(path) as temporary:
        temporary.write_text("")
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_name_has_room_for_what_is_added_to_it(tmp_path):
    name = "a" * 200
    assert inside(tmp_path, name, room=50).name == name
    with pytest.raises(ValueError, match="is no name of a file inside"):
        inside(tmp_path, name, room=60)
    (tmp_path / "file").write_text("")
    assert inside(tmp_path, "file/below") == (tmp_path / "file" / "below").resolve()


def test_what_ended_the_writing_is_told_and_not_what_kept_from_cleaning(tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(KeyError, match="first"), replacing(tmp_path / "report.json") as temporary:
        temporary.write_text("half")
        raise KeyError("first")


def test_the_same_thread_and_process_of_another_container_have_another_name(tmp_path):
    """Numbers of processes begin anew in every container, and on every machine that shares the folder."""
    path = tmp_path / "report.json"
    with replacing(path) as one, replacing(path) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one" and list(tmp_path.iterdir()) == [path]
