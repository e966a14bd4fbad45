"""Stands between a client and a PostgreSQL server, and cuts the wire where a test says."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from urllib.parse import parse_qs, urlsplit

CHUNK = 1 << 16
SOCKET = ".s.PGSQL.5432"


class WireCutter:
    """Carries bytes both ways, until the next call that names `topic` meets a fault.

    `before`: the call does not reach the server. `during`: it does, and nobody waits for the
    answer. `after`: the answer is made and does not come back. `late`: it is held back until
    `deliver`, when the client has long been cut off. Each happens once; connections made later
    are carried untouched, or hung up on while `unreachable` is set.
    """

    def __init__(self, server: Path, folder: Path, topic: bytes) -> None:
        self.fault = ""
        self.unreachable = False
        self.happened = threading.Event()
        self._server = server
        self._topic = topic
        self._held: tuple[socket.socket, bytes] | None = None
        self._late_answers: Queue[bytes] = Queue()
        self._open: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / SOCKET))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def deliver(self) -> bytes:
        """Let the held call through; what the server says to it."""
        assert self._held is not None, "no call was held back"
        upstream, data = self._held
        upstream.sendall(data)
        return self._late_answers.get(timeout=10)

    def close(self) -> None:
        for opened in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
            opened.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.unreachable:
                    client.close()
                    continue
                upstream = socket.socket(socket.AF_UNIX)
                upstream.connect(str(self._server))
                self._open += [client, upstream]
                threading.Thread(
                    target=self._carry_calls, args=(client, upstream), daemon=True
                ).start()
                threading.Thread(
                    target=self._carry_answers, args=(upstream, client), daemon=True
                ).start()

    def _carry_calls(self, client: socket.socket, upstream: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(CHUNK):
                if self.fault in {"before", "late"} and self._topic in data:
                    if self.fault == "late":
                        self._held = (upstream, data)
                    self._cut(client)
                    return
                if self.fault == "after" and self._topic in data:
                    self.fault = "answer"
                upstream.sendall(data)
                if self.fault == "during" and self._topic in data:
                    self._cut(client)

    def _carry_answers(self, upstream: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := upstream.recv(CHUNK):
                if self._held is not None and self._held[0] is upstream:
                    self._late_answers.put(data)
                    return
                if self.fault == "answer":
                    self._cut(client)
                    return
                client.sendall(data)

    def _cut(self, client: socket.socket) -> None:
        self.fault = ""
        self.happened.set()
        client.shutdown(socket.SHUT_RDWR)


@contextmanager
def wire_cutter(url: str, topic: bytes) -> Iterator[tuple[WireCutter, str]]:
    """A cutter before the server of this URL, and the URL that leads through it."""
    parts = urlsplit(url)
    (host,) = parse_qs(parts.query)["host"]
    with tempfile.TemporaryDirectory(prefix="payphone-cut-") as folder:
        cutter = WireCutter(Path(host) / SOCKET, Path(folder), topic)
        try:
            yield cutter, url.replace(host, folder)
        finally:
            cutter.close()
