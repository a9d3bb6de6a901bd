"""Start a ComfyUI server with this pack in it, and talk to it over its API.

    with comfy_server.start(environment, base_directory) as server:
        prompt_id = server.queue(graph)                     # a graph in API format
        entry = server.wait(prompt_id, on_progress=print)   # raises PromptError
        pictures = server.output_paths(entry)

Standard library only.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from console import Explained
from environment import Environment
from installing import child_variables
from launch import HOST, arguments, free_port, is_free
from listener import WebSocket

START_SECONDS = 300.0
STOP_SECONDS = 10.0
POLL_SECONDS = 2.0
UNREAD_MESSAGES = 10_000
KEPT_LOGS = 20

# A proxy that is set for the internet must not be asked for a server on this machine.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class PromptError(Exception):
    """A queued graph that was refused or failed.

    Attributes: `node_id` and `node_type` ("" if no single node is to blame), `error_type` as ComfyUI names it,
    `message`.
    """

    def __init__(self, node_id: str, node_type: str, error_type: str, message: str) -> None:
        where = f"node {node_id} ({node_type}): " if node_id else ""
        super().__init__(f"{where}{error_type}: {message.strip()}")
        self.node_id, self.node_type, self.error_type, self.message = node_id, node_type, error_type, message


class PromptInterrupted(PromptError):
    """A queued graph that was interrupted, or taken out of the queue, before its end."""


class ServerStopped(Explained):
    """The server process has ended by itself; the message carries the end of its log."""


@dataclass(frozen=True)
class Progress:
    """How far the running node of a graph is: `value` of `maximum` steps."""

    node_id: str
    value: float
    maximum: float


def start(environment: Environment, base_directory: Path, port: int | None = None, extra_args: Sequence[str] = (),
          timeout: float = START_SECONDS) -> Server:
    """Start ComfyUI in `base_directory` (made if missing) and return it once it answers.

    Without `port` a free one is chosen. With a ComfyUI of the user's own, its folders are used as they are, the
    pack is linked into its custom nodes, and the checkpoints of `base_directory` are added to its own.
    Raises `Explained` if the port is taken or the server does not answer within `timeout` seconds.
    """
    base_directory = base_directory.resolve()
    chosen = [*arguments(environment, base_directory), *extra_args]
    if port is not None:
        if not is_free(port):
            raise Explained(f"Port {port} is in use by another program. Choose another one, or leave the port out to "
                            "have a free one chosen.")
        return Server(environment, base_directory, port, chosen, timeout)
    for _ in range(4):
        with contextlib.suppress(_PortTaken):
            return Server(environment, base_directory, free_port(), chosen, timeout)
    return Server(environment, base_directory, free_port(), chosen, timeout)


class Server:
    """A running ComfyUI server; as a context manager it is stopped at the end. Made by `start`.

    Attributes: `port`, `address` (its URL), `process`, `log_file`, `output_directory`.
    """

    def __init__(self, environment: Environment, base_directory: Path, port: int, arguments: Sequence[str],
                 timeout: float) -> None:
        self.port = port
        self.address = f"http://{HOST}:{port}"
        self.log_file = base_directory / "logs" / f"server-{port}.log"
        self.output_directory = (environment.comfyui if environment.own else base_directory) / "output"
        self._client = uuid.uuid4().hex
        self._messages: dict[str, queue.Queue[dict | bytes]] = {}
        self._socket: WebSocket | None = None
        command = [str(environment.python), str(environment.comfyui / "main.py"), "--port", str(port), *arguments]
        # In a group of its own, Ctrl-C reaches the server only through stop, and stop reaches its children.
        group = ({"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP} if os.name == "nt"
                 else {"start_new_session": True})
        _remove_old_logs(self.log_file.parent)
        with open(self.log_file, "wb") as log:
            self.process = subprocess.Popen(command, cwd=base_directory, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=subprocess.STDOUT, env=child_variables(), **group)
        try:
            self._wait_until_it_answers(timeout)
            self._socket = WebSocket(HOST, port, f"/ws?clientId={self._client}")
            threading.Thread(target=self._listen, args=(self._socket,), daemon=True).start()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def queue(self, graph: dict[str, Any], workflow: dict[str, Any] | None = None) -> str:
        """Queue a graph in API format and return its prompt id. Raises `PromptError` if the server refuses it.

        Saved pictures always carry `graph`; they carry `workflow`, the form that ComfyUI's page saves, if given.
        """
        prompt_id = str(uuid.uuid4())
        self._messages[prompt_id] = queue.Queue(UNREAD_MESSAGES)
        request = {"prompt": graph, "client_id": self._client, "prompt_id": prompt_id}
        if workflow is not None:
            request["extra_data"] = {"extra_pnginfo": {"workflow": workflow}}
        try:
            self.post("/prompt", request)
        except urllib.error.HTTPError as refusal:
            del self._messages[prompt_id]
            raise _refusal(refusal.read()) from None
        return prompt_id

    def wait(self, prompt_id: str, on_progress: Callable[[Progress], None] | None = None,
             on_message: Callable[[dict | bytes], None] | None = None, timeout: float | None = None) -> dict[str, Any]:
        """Wait until a queued graph has ended and return its history entry.

        `on_progress` is called for each step of the running nodes; `on_message` gets every message about this
        prompt as the server sent it, previews as bytes. Raises `PromptError` if a node failed,
        `PromptInterrupted` if it was interrupted, `ServerStopped` if the server ended, `TimeoutError` after
        `timeout` seconds.
        """
        end = None if timeout is None else time.monotonic() + timeout
        messages, pause = self._messages[prompt_id], POLL_SECONDS
        while True:
            message = None
            with contextlib.suppress(queue.Empty):
                message = messages.get(timeout=pause)
            if message is not None and on_message:
                on_message(message)
            if isinstance(message, dict) and message["type"] == "progress_state" and on_progress:
                for progress in _running(message["data"]):
                    on_progress(progress)
            if isinstance(message, dict) and message["type"] in _LAST_MESSAGES:
                pause = 0.05
            # Messages can be lost; the history cannot, so it decides.
            if message is None:
                entry = self._history(prompt_id)
                if entry is not None:
                    del self._messages[prompt_id]
                    return _checked(entry)
            if end is not None and time.monotonic() > end:
                raise TimeoutError(f"prompt {prompt_id} has not ended after {timeout} seconds")

    def interrupt(self) -> None:
        """Stop the graph that is running; those that wait in the queue go on."""
        self.post("/interrupt", {})

    def skip_tour(self) -> None:
        """Have the page's first visit open what is asked for; else ComfyUI's own templates come up over it."""
        self.post("/settings", {"Comfy.TutorialCompleted": True})

    def get(self, path: str, timeout: float = 30.0) -> Any:
        """GET a path of the API; JSON is decoded, other answers are bytes. Raises `urllib.error.URLError`."""
        return self._request(urllib.request.Request(self.address + path), timeout)

    def post(self, path: str, content: Any, timeout: float = 30.0) -> Any:
        """POST `content` as JSON to a path of the API; answers and errors as for `get`."""
        headers = {"Content-Type": "application/json"}
        body = json.dumps(content).encode()
        return self._request(urllib.request.Request(self.address + path, body, headers), timeout)

    def output_paths(self, entry: dict[str, Any]) -> list[Path]:
        """The files that a graph has saved into the output folder, from its history entry."""
        return [self.output_directory / file["subfolder"] / file["filename"]
                for outputs in entry["outputs"].values() for files in outputs.values() if isinstance(files, list)
                for file in files if isinstance(file, dict) and file.get("type") == "output"]

    def log(self, lines: int | None = None) -> str:
        """What the server has written so far, or its last `lines`."""
        text = self.log_file.read_text(encoding="utf-8", errors="replace")
        return text if lines is None else "\n".join(text.splitlines()[-lines:])

    def stop(self) -> None:
        """End the server and its children, at once if it does not end by itself; may be called twice."""
        if self.process.poll() is None:
            self._signal(force=False)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End the server and its children as a crash would."""
        self._signal(force=True)
        self.process.wait()
        if self._socket is not None:
            self._socket.close()

    def _signal(self, force: bool) -> None:
        if os.name == "nt":
            if self.process.poll() is None:
                subprocess.run(["taskkill", "/T", "/F", "/PID", str(self.process.pid)], capture_output=True)
        else:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL if force else signal.SIGTERM)

    def _request(self, request: urllib.request.Request, timeout: float) -> Any:
        with _opener.open(request, timeout=timeout) as answer:
            content = answer.read()
            return json.loads(content) if content and "json" in answer.headers.get("Content-Type", "") else content

    def _wait_until_it_answers(self, timeout: float) -> None:
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self.process.poll() is not None:
                if f"Port {self.port} is already in use" in self.log():
                    raise _PortTaken(f"Port {self.port} is in use by another program.")
                raise ServerStopped(f"ComfyUI ended while starting. The end of {self.log_file}:\n{self.log(15)}")
            with contextlib.suppress(OSError, ValueError):
                self.get("/system_stats", timeout=5)
                return
            time.sleep(0.2)
        raise Explained(f"ComfyUI did not answer within {timeout:.0f} s. The end of {self.log_file}:\n{self.log(15)}")

    def _listen(self, connection: WebSocket) -> None:
        current = ""
        with contextlib.suppress(OSError):
            while True:
                message: dict | bytes | str = connection.receive()
                if isinstance(message, str):
                    message = json.loads(message)
                    owner = (message.get("data") or {}).get("prompt_id")
                    if not owner:
                        continue
                    # A preview does not say whose it is: it belongs to the prompt that was spoken of last.
                    current = owner
                inbox = self._messages.get(current)
                if inbox is not None:
                    with contextlib.suppress(queue.Full):
                        inbox.put_nowait(message)

    def _history(self, prompt_id: str) -> dict[str, Any] | None:
        try:
            waiting = self.get("/queue")
            entry = self.get(f"/history/{prompt_id}").get(prompt_id)
        except OSError:
            if self.process.poll() is not None:
                raise ServerStopped(f"ComfyUI has ended. The end of {self.log_file}:\n{self.log(15)}") from None
            return None
        known = [item[1] for item in waiting["queue_running"] + waiting["queue_pending"]]
        if entry is None and prompt_id not in known:
            raise PromptInterrupted("", "", "removed", "the prompt is no longer in the queue")
        return entry


_LAST_MESSAGES = ("execution_success", "execution_error", "execution_interrupted")


class _PortTaken(Explained):
    """Another program took the port between choosing it and using it."""


def _remove_old_logs(folder: Path) -> None:
    logs = sorted(folder.glob("server-*.log"), key=lambda log: log.stat().st_mtime)
    for log in logs[:-KEPT_LOGS]:
        with contextlib.suppress(OSError):
            log.unlink()


def _running(state: dict[str, Any]) -> list[Progress]:
    return [Progress(node.get("display_node_id") or node["node_id"], node["value"], node["max"])
            for node in state["nodes"].values() if node["state"] == "running"]


def _refusal(body: bytes) -> PromptError:
    try:
        answer = json.loads(body)
        for node_id, node in answer.get("node_errors", {}).items():
            error = node["errors"][0]
            return PromptError(node_id, node["class_type"], error["type"], f"{error['message']}: {error['details']}")
        error = answer["error"]
        return PromptError("", "", error["type"], f"{error['message']} {error.get('details', '')}")
    except (ValueError, KeyError, TypeError, AttributeError):
        return PromptError("", "", "refused", body.decode(errors="replace"))


def _checked(entry: dict[str, Any]) -> dict[str, Any]:
    for kind, data in entry.get("status", {}).get("messages", []):
        if kind == "execution_error":
            raise PromptError(str(data["node_id"]), data["node_type"], data["exception_type"],
                              data["exception_message"])
        if kind == "execution_interrupted":
            raise PromptInterrupted(str(data.get("node_id") or ""), data.get("node_type") or "", "interrupted",
                                    "the run was interrupted")
    return entry
