"""Where a process listens, and what that is called."""

from __future__ import annotations

import socket

from adapters.bootstrap.problems import CannotStartError
from adapters.config import HttpSettings


def listening(settings: HttpSettings) -> socket.socket:
    """A listening address; the system chooses the port where it is 0."""
    host, port = settings.host, settings.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1_024)
    except OSError as refused:
        msg = f"cannot listen on {host}:{port} ({refused.strerror}): use another --host or --port"
        raise CannotStartError(msg) from refused


def url_of(settings: HttpSettings, listener: socket.socket) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{listener.getsockname()[1]}"
