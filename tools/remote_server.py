"""A ComfyUI somewhere, spoken to over its API. Standard library only."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from console import Explained

SECONDS = 30.0
# A proxy that is set for the internet is not asked for servers of one's own.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
DONE, WAITING, FAILED, UNKNOWN = "done", "waiting", "failed", "unknown"
SAVED = "Saved "  # what a node that writes texts says before their names


@dataclass(frozen=True)
class Known:
    """What a server knows of a prompt: one of DONE, WAITING, FAILED, UNKNOWN; of a failure why; and, by node, the
    files that it has saved, relative to the output folder."""

    state: str
    message: str = ""
    files: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class RemoteServer:
    """The ComfyUI at an address such as http://10.0.0.2:8188. One that does not answer, or answers what ComfyUI would
    not, raises OSError."""

    address: str

    def get(self, path: str) -> bytes:
        return self._answer(urllib.request.Request(self.address + path))

    def get_json(self, path: str) -> Any:
        return self._decoded(self.get(path))

    def checkpoints(self) -> dict[str, int | None]:
        """The sizes of its checkpoints in bytes, where it tells them, by name."""
        names = [name.replace("\\", "/") for name in self.get_json("/models/checkpoints")]
        try:
            listed = {each["name"].replace("\\", "/"): each.get("size")
                      for each in self.get_json("/experiment/models/checkpoints")}
        except (OSError, KeyError, TypeError):
            listed = {}
        return {name: listed.get(name) for name in names}

    def description(self) -> str:
        """What its results depend on besides graph and models, in words."""
        found = self.get_json("/system_stats")
        device = found["devices"][0]["name"].split(" : ")[0]
        return (f"ComfyUI {found['system'].get('comfyui_version')}, PyTorch {found['system'].get('pytorch_version')}, "
                f"{device}")

    def queue(self, prompt_id: str, graph: dict[str, Any]) -> None:
        """Queue a graph under an id of the caller's. Raises `Explained` if the server refuses it."""
        try:
            self._post("/prompt", {"prompt": graph, "prompt_id": prompt_id})
        except urllib.error.HTTPError as refusal:
            if refusal.code >= 500:
                raise
            raise Explained(f"{self.address} refuses the graph: {refusal.read().decode(errors='replace')}") from None

    def waiting(self) -> set[str]:
        """The ids of what runs and waits."""
        found = self.get_json("/queue")
        return {item[1] for item in (*found["queue_running"], *found["queue_pending"])}

    def known(self, prompt_id: str, waiting: Collection[str]) -> Known:
        """What it knows of a prompt; `waiting` has been asked for before, so that none is missed between the two. One
        that is queued again is not taken for what became of it before."""
        if prompt_id in waiting:
            return Known(WAITING)
        entry = self.get_json(f"/history/{prompt_id}").get(prompt_id)
        if entry is None:
            return Known(UNKNOWN)
        if entry["status"]["status_str"] == "success":
            return Known(DONE, files=_saved(entry["outputs"]))
        told = [data for kind, data in entry["status"]["messages"] if kind == "execution_error"]
        return Known(FAILED, f"{told[0]['node_type']}: {told[0]['exception_message']}" if told else "interrupted")

    def end(self, prompt_id: str) -> None:
        """Take a prompt out of the queue, or interrupt it where it runs; others stay."""
        self._post("/queue", {"delete": [prompt_id]})
        self._post("/interrupt", {"prompt_id": prompt_id})

    def output(self, name: str) -> bytes | None:
        """A file of its output folder; None if it is not there."""
        folder, _, file = name.rpartition("/")
        try:
            return self.get("/view?" + urllib.parse.urlencode({"filename": file, "subfolder": folder,
                                                               "type": "output"}))
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def upload(self, name: str, content: bytes) -> str:
        """Put a picture into its input folder; gives the name that LoadImage knows it by."""
        folder, _, file = name.rpartition("/")
        boundary = uuid.uuid4().hex
        parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'.encode()
                 for field, value in (("subfolder", folder), ("overwrite", "true"))]
        parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{file}"\r\n'
                     "Content-Type: image/png\r\n\r\n".encode() + content + b"\r\n")
        kind = f"multipart/form-data; boundary={boundary}"
        answer = self._decoded(self._answer(urllib.request.Request(
            self.address + "/upload/image", b"".join(parts) + f"--{boundary}--\r\n".encode(), {"Content-Type": kind})))
        return "/".join(filter(None, (answer["subfolder"].replace("\\", "/"), answer["name"])))

    def _post(self, path: str, content: dict[str, Any]) -> None:
        self._answer(urllib.request.Request(self.address + path, json.dumps(content).encode(),
                                            {"Content-Type": "application/json"}))

    def _answer(self, request: urllib.request.Request) -> bytes:
        try:
            with _opener.open(request, timeout=SECONDS) as answer:
                return answer.read()
        except http.client.HTTPException as error:  # it was ended in the middle of an answer
            raise ConnectionError(f"{self.address} broke off: {error!r}") from error

    def _decoded(self, content: bytes) -> Any:
        try:
            return json.loads(content)
        except ValueError:
            raise ConnectionError(f"What answers at {self.address} is no ComfyUI.") from None


def _saved(outputs: dict[str, Any]) -> dict[str, list[str]]:
    """The files of a history entry, by node: pictures, and what nodes say that they have saved."""
    found: dict[str, list[str]] = {}
    for node, shown in outputs.items():
        names = ["/".join(filter(None, (file.get("subfolder", "").replace("\\", "/"), file["filename"])))
                 for file in shown.get("images", []) if isinstance(file, dict) and file.get("type") == "output"]
        for text in shown.get("text", []):
            if isinstance(text, str) and text.startswith(SAVED):
                names += text.splitlines()[0].removeprefix(SAVED).replace("\\", "/").split(" and ")
        found[node] = names
    return found
