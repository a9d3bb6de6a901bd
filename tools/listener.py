"""A small websocket client (RFC 6455): enough to listen to a ComfyUI server on this machine.

Standard library only, so that the commands here run before anything is installed.
"""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import struct

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class WebSocket:
    """One connection. Closing it from another thread ends a `receive` that waits."""

    def __init__(self, host: str, port: int, path: str, timeout: float = 10.0) -> None:
        """Connect; raises `OSError` if there is no server or it refuses. `timeout` in seconds."""
        self._buffer = b""
        self._socket = socket.create_connection((host, port), timeout)
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall((f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
                              f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
                              "Sec-WebSocket-Version: 13\r\n\r\n").encode())
        while b"\r\n\r\n" not in self._buffer:
            self._fill()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        if b" 101 " not in head.splitlines()[0]:
            self._socket.close()
            raise ConnectionError(f"the server refused a websocket: {head.splitlines()[0].decode(errors='replace')}")
        self._socket.settimeout(None)

    def receive(self) -> str | bytes:
        """Wait for the next message: text as `str`, anything else as `bytes`. Raises `OSError` at the end."""
        message, kind = b"", None
        while True:
            final, code, payload = self._frame()
            if code == PING:
                self._send(PONG, payload)
            elif code == CLOSE:
                raise ConnectionError("the server closed the connection")
            elif code in (TEXT, BINARY, 0):
                kind = code or kind
                message += payload
                if final:
                    return message.decode("utf-8", "replace") if kind == TEXT else message

    def close(self) -> None:
        """End the connection; may be called twice."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _frame(self) -> tuple[bool, int, bytes]:
        first, second = self._take(2)
        length = second & 127
        if length == 126:
            length, = struct.unpack(">H", self._take(2))
        elif length == 127:
            length, = struct.unpack(">Q", self._take(8))
        return bool(first & 128), first & 15, self._take(length)

    def _send(self, code: int, payload: bytes) -> None:
        # A client has to mask what it sends; control frames are never longer than 125 bytes.
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        self._socket.sendall(bytes((128 | code, 128 | len(payload))) + mask + masked)

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._fill()
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def _fill(self) -> None:
        data = self._socket.recv(1 << 16)
        if not data:
            raise ConnectionError("the server ended the connection")
        self._buffer += data
