"""What the commands of this folder share: how they speak, fail and stop.

A command's `main` returns its exit code. Failures that the reader can do something about are raised as
`Explained`; `run` prints them as one paragraph instead of a traceback.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

Log = Callable[[str], None]

TIDY_SECONDS = 10.0


class Explained(Exception):
    """A failure whose message tells the reader what is wrong and what to do."""


def say(message: str) -> None:
    """Print one line at once, also into a pipe."""
    print(message, flush=True)


def make_folder(folder: Path, remedy: str) -> None:
    """Make a folder and its parents if they are missing; raises `Explained`, ending in `remedy`, if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as failure:
        raise Explained(f"The folder {folder} cannot be made ({failure.strerror}). {remedy}") from None


def run(main: Callable[[list[str]], int]) -> None:
    """Run a command with the process's arguments and leave with its exit code.

    Being asked to stop by the terminal or by another program unwinds like Ctrl-C, so that no server or
    installer outlives the command.
    """
    for name in ("SIGTERM", "SIGHUP", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)
    try:
        code = main(sys.argv[1:])
    except Explained as failure:
        print(f"\n{failure}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        code = 130
    except OSError as failure:
        if failure.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EPERM):
            raise
        print(f"\n{failure}. Free some space, or name folders that can be written: the environment's in "
              "MENTAL_AVERAGES_HOME, the pictures' with --out.", file=sys.stderr)
        code = 1
    sys.stdout.flush()
    sys.exit(code)


def run_child(command: list[str], folder: Path, variables: dict[str, str]) -> int:
    """Run a program in `folder` until it ends and return its exit code; asked to stop, it may first tidy up."""
    process = subprocess.Popen(command, cwd=folder, env=variables)
    try:
        return process.wait()
    except KeyboardInterrupt:
        # Ctrl-C in a terminal has reached the program too; a second one would end its tidying.
        for ask in (lambda: None, lambda: process.send_signal(signal.SIGINT if os.name != "nt" else signal.SIGTERM)):
            ask()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(TIDY_SECONDS)
                break
        process.kill()
        raise


class ProgressLine:
    """One line that shows what is being done, how far it is and how long it will still take.

    On a terminal the line is rewritten in place; elsewhere a new one is written every ten seconds.
    """

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._label: str | None = None
        self._started = self._shown = 0.0
        self._first = 0.0

    def show(self, label: str, value: float, maximum: float) -> None:
        """Show `value` of `maximum` steps of the work called `label`."""
        now = time.monotonic()
        if label != self._label:
            self._label, self._started, self._shown, self._first = label, now, 0.0, value
        pause = 0.1 if self._terminal else 10.0
        if now - self._shown < pause and value < maximum:
            return
        self._shown = now
        text = f"  {label}"
        if maximum > 1:
            share = min(1.0, value / maximum)
            filled = round(24 * share)
            left = self._time_left(now, value, maximum)
            text = f"  [{'#' * filled}{'.' * (24 - filled)}] {share:4.0%}  {label}{left}"
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            sys.stdout.write(f"\r{text[:width]:<{width}}")
            sys.stdout.flush()
        else:
            say(text)

    def finish(self) -> None:
        """End the line, so that the next text starts on its own."""
        if self._label is not None and self._terminal:
            sys.stdout.write("\n")
            sys.stdout.flush()
        self._label = None

    def _time_left(self, now: float, value: float, maximum: float) -> str:
        done = value - self._first
        if done <= 0 or value >= maximum:
            return ""
        seconds = round((now - self._started) / done * (maximum - value))
        minutes, seconds = divmod(seconds, 60)
        return f", {minutes} min {seconds:02d} s left" if minutes else f", {seconds} s left"
