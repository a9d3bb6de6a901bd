"""Build what the registry gets: python tools/release.py TAG [--out FOLDER]

An archive of every file that git tracks, less what `.comfyignore` names, is written and read again. Nothing is built
where a release would be wrong: with uncommitted changes, a version that is not the tag's or that the CHANGELOG does not
know, or while the addresses in pyproject.toml are placeholders.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import zipfile
from pathlib import Path, PurePosixPath

from console import Explained, make_folder, run, say

ROOT = Path(__file__).resolve().parents[1]
NAME = "mental-averages"
PLACEHOLDER = "https://example.invalid/"
NEEDED = ("__init__.py", "pyproject.toml", "requirements.txt", "LICENSE", "README.md", "nodes/extension.py",
          "dma/__init__.py", "locales/en/nodeDefs.json")
# Folders that ComfyUI has no use for. Files of tests are what scanners of the registry stumble over most.
KEPT_BACK = ("tests", "tools", "benchmarks", "demo", ".ci", ".github", ".git")
MOST_MEGABYTES = 10
EPOCH = (1980, 1, 1, 0, 0, 0)  # of every file, so that the same commit gives the same archive


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="release.py", description=__doc__.splitlines()[0])
    parser.add_argument("tag", help="the version with a v before it, such as v0.1.0")
    parser.add_argument("--out", type=Path, default=Path("dist"), help="folder of the archive")
    chosen = parser.parse_args(arguments)
    complaints = problems(ROOT, chosen.tag)
    if complaints:
        raise Explained("This is not ready for a release:\n" + "\n".join(f"- {line}" for line in complaints))
    archive = build(ROOT, chosen.out, chosen.tag.removeprefix("v"))
    names = check(archive)
    say(f"{archive}: {len(names)} files, {archive.stat().st_size / 1e6:.1f} MB.")
    return 0


def problems(root: Path, tag: str) -> list[str]:
    """What stands against a release of the checkout `root` under a tag, one sentence each."""
    project = (root / "pyproject.toml").read_text(encoding="utf-8")
    version = re.search(r'^version = "(.+)"$', project, re.MULTILINE)[1]
    found = []
    if tag != f"v{version}":
        found.append(f"The tag is {tag}, but pyproject.toml has version {version}: it has to be v{version}.")
    if not re.search(rf"^## \[{re.escape(version)}\]", (root / "CHANGELOG.md").read_text(encoding="utf-8"),
                     re.MULTILINE):
        found.append(f"CHANGELOG.md has no section [{version}].")
    if PLACEHOLDER in project:
        found.append(f"pyproject.toml still has addresses that begin with {PLACEHOLDER}: put the repository's in their "
                     "place, everywhere the same.")
    else:
        found += strangers(project)
    if _git(root, "status", "--porcelain"):
        found.append("There are changes that are not committed.")
    return found


def strangers(project: str) -> list[str]:
    """Complaints about addresses in the text of pyproject.toml that do not belong to its Repository."""
    repository = re.search(r'^Repository = "(.+)"$', project, re.MULTILINE)[1]
    name = "/".join(repository.rstrip("/").split("/")[-2:])
    return [f"{key} is {address}, which does not belong to the repository {repository}."
            for key, address in re.findall(r'^(?:"?)([\w ]+)(?:"?) = "(https://.+)"$', project, re.MULTILINE)
            if name not in address]


def released_files(root: Path) -> list[str]:
    """The paths that go into the archive, as git spells them."""
    ignored = set(_git(root, "ls-files", "--cached", "--ignored", "--exclude-from=.comfyignore"))
    return [path for path in _git(root, "ls-files", "--cached") if path not in ignored]


def build(root: Path, folder: Path, version: str) -> Path:
    """Write the archive of a checkout into a folder; returns its path."""
    make_folder(folder, "Name another one with --out.")
    archive = folder / f"{NAME}-{version}.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as out:
        for path in released_files(root):
            entry = zipfile.ZipInfo(path, EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            out.writestr(entry, (root / path).read_bytes())
    return archive


def check(archive: Path) -> list[str]:
    """Read an archive and return its names. Raises `Explained` if something is missing, too much, damaged, or too
    large."""
    with zipfile.ZipFile(archive) as held:
        names = held.namelist()
        damaged = [name for name in [held.testzip()] if name]
    missing = [name for name in NEEDED if name not in names]
    extra = [name for name in names if PurePosixPath(name).parts[0] in KEPT_BACK]
    size = archive.stat().st_size / 1e6
    for wrong, what in ((damaged, "is damaged at"), (missing, "lacks"), (extra, "must not hold")):
        if wrong:
            raise Explained(f"The archive {archive} {what} {', '.join(wrong[:5])}.")
    if size > MOST_MEGABYTES:
        raise Explained(f"The archive {archive} has {size:.1f} MB, more than {MOST_MEGABYTES}: see what .comfyignore "
                        "leaves in.")
    return names


def _git(root: Path, *arguments: str) -> list[str]:
    listed = subprocess.run(["git", "-C", str(root), "-c", "core.quotepath=off", *arguments], capture_output=True,
                            text=True, encoding="utf-8")
    if listed.returncode:
        raise Explained(f"git {arguments[0]} failed in {root}: {listed.stderr.strip()}")
    return listed.stdout.splitlines()


if __name__ == "__main__":
    run(main)
