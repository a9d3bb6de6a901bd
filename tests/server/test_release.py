"""tools/release.py: what the registry gets, and what it must not get."""
import re
import subprocess
import sys
import zipfile

import pytest
from PIL import Image

import release
import workspace
from console import Explained

PROJECT = """[project]
version = "1.2.3"
[project.urls]
Repository = "{address}some/pack"
Documentation = "{address}some/pack/tree/main/docs"
"Bug Tracker" = "{address}some/{tracker}/issues"
"""


def git(folder, *arguments):
    subprocess.run(["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments], check=True,
                   capture_output=True)


def write_project(folder, address, tracker):
    (folder / "pyproject.toml").write_text(PROJECT.format(address=address, tracker=tracker), encoding="utf-8")


@pytest.fixture
def checkout(tmp_path):
    """A small pack, committed, that is ready for a release."""
    root = tmp_path / "pack"
    for name in (*release.NEEDED, "tests/test_it.py", "web/docs/A.md"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name, encoding="utf-8")
    (root / ".comfyignore").write_text("tests/\n.comfyignore\n", encoding="utf-8")
    write_project(root, "https://somewhere.test/", "pack")
    (root / "CHANGELOG.md").write_text("## [1.2.3] - 2026-01-01\n", encoding="utf-8")
    git(tmp_path, "init", "-q", "pack")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "all")
    (root / "untracked.txt").touch()
    return root


def test_archive_holds_what_is_tracked_and_not_ignored(checkout, tmp_path):
    archive = release.build(checkout, tmp_path / "out", "1.2.3")
    assert archive.name == "mental-averages-1.2.3.zip"
    assert set(release.check(archive)) == {*release.NEEDED, "CHANGELOG.md", "web/docs/A.md"}
    assert archive.read_bytes() == release.build(checkout, tmp_path / "again", "1.2.3").read_bytes()


def test_ready_checkout_has_no_problems_but_its_untracked_file(checkout):
    assert release.problems(checkout, "v1.2.3") == ["There are changes that are not committed."]
    (checkout / "untracked.txt").unlink()
    assert release.problems(checkout, "v1.2.3") == []


@pytest.mark.parametrize("tag, address, tracker, changes, message", [
    ("v1.2.4", "https://somewhere.test/", "pack", "## [1.2.3]", "it has to be v1.2.3"),
    ("v1.2.3", "https://somewhere.test/", "pack", "## [Unreleased]", r"no section \[1.2.3\]"),
    ("v1.2.3", release.PLACEHOLDER, "pack", "## [1.2.3]", "addresses that begin with"),
    ("v1.2.3", "https://somewhere.test/", "other", "## [1.2.3]", "Bug Tracker is .* does not belong"),
])
def test_what_stands_against_a_release(checkout, tag, address, tracker, changes, message):
    (checkout / "untracked.txt").unlink()
    write_project(checkout, address, tracker)
    (checkout / "CHANGELOG.md").write_text(changes + "\n", encoding="utf-8")
    git(checkout, "add", "-A")
    git(checkout, "commit", "-q", "--allow-empty", "-m", "changed")
    (problem,) = release.problems(checkout, tag)
    assert re.search(message, problem)


@pytest.mark.parametrize("without, extra, message", [
    ("LICENSE", None, "lacks LICENSE"), (None, "tests/test_it.py", "must not hold tests/test_it.py"),
])
def test_archive_that_is_not_right(tmp_path, without, extra, message):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as out:
        for name in (*release.NEEDED, *([extra] if extra else [])):
            if name != without:
                out.writestr(name, "")
    with pytest.raises(Explained, match=message):
        release.check(archive)


def test_archive_of_this_pack(tmp_path):
    """What would be published today: all templates and help pages, nothing of tests and tools, and no word that the
    registry's scanners dislike."""
    archive = release.build(workspace.PACK, tmp_path, "0.0.0")
    names = release.check(archive)
    tracked = [path.relative_to(workspace.PACK).as_posix() for folder in ("example_workflows", "subgraphs", "web/docs")
               for path in (workspace.PACK / folder).glob("*.*")]
    assert tracked and set(tracked) <= set(names)
    with zipfile.ZipFile(archive) as held:
        for name in names:
            if name.endswith(".py"):
                code = held.read(name).decode()
                for word in (" eval(", " exec(", "pickle.load", "os.system", "shell=True"):
                    assert word not in code, f"{name} holds {word.strip()}"


@pytest.mark.parametrize("key, width, height", [("Icon", 400, 400), ("Banner", 1050, 450)])
def test_picture_for_the_registry_lies_where_its_address_points(key, width, height):
    """A square of at most 400 pixels and one of 21:9, small, and at an address below the Repository's."""
    project = (workspace.PACK / "pyproject.toml").read_text(encoding="utf-8")
    address = re.search(rf'^{key} = "(.+)"$', project, re.MULTILINE)[1]
    repository = re.search(r'^Repository = "(.+)"$', project, re.MULTILINE)[1]
    file = workspace.PACK / address.removeprefix(f"{repository}/raw/HEAD/")
    with Image.open(file) as picture:
        assert picture.size == (width, height)
    assert file.relative_to(workspace.PACK).as_posix() in release._git(workspace.PACK, "ls-files")
    assert file.stat().st_size <= 32_000


def test_no_release_is_built_while_addresses_are_placeholders(tmp_path):
    refused = subprocess.run([sys.executable, str(workspace.PACK / "tools" / "release.py"), "v0.0.0", "--out",
                              str(tmp_path / "dist")], capture_output=True, text=True, timeout=60)
    assert refused.returncode == 1 and "not ready for a release" in refused.stderr
    assert not (tmp_path / "dist").exists()
