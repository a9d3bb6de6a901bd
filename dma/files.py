"""Files that are written whole or not at all, and names that stay inside their folder."""
from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections.abc import Generator
from pathlib import Path

LONGEST_SHARE = 50  # characters of a name that its temporary one begins with


@contextlib.contextmanager
def replacing(path: Path) -> Generator[Path]:
    """A temporary path beside `path` to write to. It takes the place of `path` at the end, in one step; after an error
    it is removed, and what was at `path` stays.

    Its name ends in .tmp and is one that nobody else writes to, neither another thread or process nor one of the same
    numbers on another machine or in another container. The folder has to be there.

    Who may read the file is what holds of the one that it replaces, or of new ones (umask), whatever the one that
    writes it makes of that: safetensors lets its owner alone.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "report.json"
    ...     with replacing(path) as temporary:
    ...         _ = temporary.write_text("{}")
    ...     path.read_text(), len(list(Path(folder).iterdir()))
    ('{}', 1)
    """
    own = f"{os.getpid()}.{threading.get_native_id()}.{secrets.token_hex(4)}"
    # A name that is as long as names may be leaves no room for more.
    temporary = path.with_name(f"{path.name[:LONGEST_SHARE]}.{own}.tmp")
    try:
        temporary.touch()
        mode = (path if path.is_file() else temporary).stat().st_mode
        with contextlib.suppress(OSError):  # what is not written is not there
            temporary.unlink()
        yield temporary
        with contextlib.suppress(OSError):  # some systems know no modes
            temporary.chmod(mode)
        os.replace(temporary, path)
    finally:
        # What ended the writing, a disk that has become read-only for one, may forbid this too, and is what to tell of.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def inside(root: Path, name: str, *, room: int = 0) -> Path:
    """The path called `name` in the folder `root` or below it, with its links followed. Nothing need be there.

    Raises ValueError if it is outside, or `root` itself, and if the system takes no such name: one with a null byte, or
    one that is too long. `room`: bytes that are still to be added to the name.

    >>> inside(Path("/files"), "castles/../mode_1").as_posix()
    '/files/mode_1'
    """
    root = root.resolve()
    try:
        path = (root / name).resolve()
        if path == root or not path.is_relative_to(root):
            raise ValueError(name)
        *folders, last = path.relative_to(root).parts
        # Each part is looked up in a folder that is there: the system says nothing of what is in one that is not.
        there = next(folder for folder in (root, *root.parents) if folder.exists())
        for probe in (*(there / part for part in folders), there / f"{last}{'_' * room}", path):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                probe.lstat()
    except (ValueError, OSError) as error:
        raise ValueError(f"{name!r} is no name of a file inside {root}.") from error
    return path
