"""tools/frontend.py with a package index on disk: what is kept, and what an interruption leaves."""
import sys
import zipfile
from types import SimpleNamespace

import pytest

import frontend
from console import Explained
from environment import home

DAY = 24 * 3600.0


class Index:
    """A folder of wheels, the only index that pip asks here."""

    def __init__(self, folder):
        self.folder, self.said = folder, []

    def add(self, version, page="index.html"):
        about = f"comfyui_frontend_package-{version}.dist-info"
        files = {f"comfyui_frontend_package/static/{page}": version, "comfyui_frontend_package/__init__.py": "",
                 f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {frontend.PACKAGE}\nVersion: {version}\n",
                 f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: a\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
        files[f"{about}/RECORD"] = "".join(f"{name},,\n" for name in (*files, f"{about}/RECORD"))
        with zipfile.ZipFile(self.folder / f"comfyui_frontend_package-{version}-py3-none-any.whl", "w") as wheel:
            for name, text in files.items():
                wheel.writestr(name, text)

    def clear(self):
        for path in self.folder.iterdir():
            path.unlink()

    def ask(self, now):
        """The version of the page that is found."""
        page = frontend.newest(SimpleNamespace(python=sys.executable), self.said.append, now=now)
        return (page / "index.html").read_text(encoding="utf-8")


@pytest.fixture
def index(tmp_path, monkeypatch):
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("MENTAL_AVERAGES_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return Index(folder)


def kept():
    """The folders of versions, and whatever else an installation may have left."""
    folder = home() / "environments" / "newest-frontend"
    return sorted(path.name for path in folder.iterdir() if path.name not in ("pip.log", "ready.json"))


def test_the_index_is_asked_once_a_day(index):
    index.add("1.0.1")
    assert index.ask(0.0) == "1.0.1"
    index.add("1.0.2")
    asked = len(index.said)
    assert index.ask(DAY - 1) == "1.0.1" and len(index.said) == asked
    assert index.ask(DAY) == "1.0.2" and len(index.said) > asked
    # A clock that was set back says nothing of when it was asked.
    index.add("1.0.3")
    assert index.ask(DAY - 1) == "1.0.3"


def test_without_an_index_it_is_the_one_found_last_and_says_so(index):
    index.add("1.0.1")
    index.ask(0.0)
    index.clear()
    assert index.ask(2 * DAY) == "1.0.1"
    assert index.said[-1].startswith("ComfyUI's page is 1.0.1, perhaps not the newest. ")
    assert kept() == ["1.0.1"]


def test_without_an_index_and_without_an_earlier_one_it_is_an_error(index):
    with pytest.raises(Explained, match=frontend.PACKAGE):
        index.ask(0.0)
    assert kept() == []


def test_a_page_of_another_form_is_refused_in_plain_words(index):
    index.add("1.0.1", page="other.html")
    with pytest.raises(Explained, match=r"holds no comfyui_frontend_package/static/index\.html"):
        index.ask(0.0)
    assert kept() == []


def test_only_two_versions_are_kept(index):
    for day, version in enumerate(("1.0.1", "1.0.2", "1.0.3")):
        index.add(version)
        assert index.ask(day * DAY) == version
    assert kept() == ["1.0.2", "1.0.3"]


def test_an_interrupted_installation_leaves_nothing_half_done(index, monkeypatch):
    index.add("1.0.1")
    index.ask(0.0)
    index.add("1.0.2")
    install = frontend.pip

    def interrupted(*arguments):
        install(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(frontend, "pip", interrupted)
    with pytest.raises(KeyboardInterrupt):
        index.ask(DAY)
    assert kept() == ["1.0.1"]
    monkeypatch.setattr(frontend, "pip", install)
    assert index.ask(DAY - 1) == "1.0.1"
    assert index.ask(DAY) == "1.0.2"


def test_a_page_that_has_lost_its_files_is_installed_again(index):
    index.add("1.0.1")
    index.ask(0.0)
    (home() / "environments" / "newest-frontend" / "1.0.1" / frontend.STATIC / "index.html").unlink()
    assert index.ask(1.0) == "1.0.1"
