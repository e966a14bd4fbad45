"""One JSON line a record: what happened, where it belongs, and nothing that must stay secret."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TextIO

REDACTED = "[redacted]"
_CONTEXT: ContextVar[MappingProxyType[str, object]] = ContextVar(
    "log_fields", default=MappingProxyType({})
)
# What every record has anyway; the rest of its attributes came as `extra`.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_SECRET_NAME = re.compile(
    r"secret|token|signature|authorization|password|private|seed|proof|payload"
    r"|(?<!idempotency_)(?<!public_)key$|audio|pcm|transcript|^text$|metadata|identity",
    re.IGNORECASE,
)
# Found anywhere in a value: a JWT, a signature in hex, what a payment header looks like in base64.
_SECRET_VALUE = re.compile(
    r"eyJ[\w-]{8,}(\.[\w-]*){0,2}[\w+/=-]*|\b(?:0x)?[0-9a-fA-F]{128,}\b|[A-Za-z0-9+/_-]{86,}={0,2}"
)
_VALUE_LENGTH_MAX = 2_000
_TRACE_LENGTH_MAX = 8_000


@contextmanager
def bound(**fields: object) -> Iterator[None]:
    """Put these fields on every line logged inside, in this task and the ones it starts."""
    merged = MappingProxyType({**_CONTEXT.get(), **fields})
    token = _CONTEXT.set(merged)
    try:
        yield
    finally:
        _CONTEXT.reset(token)


# They write down whole URLs, and a node's URL may hold our access key.
_TALKATIVE = ("httpcore", "httpx")


def configure(level: str, stream: TextIO | None = None) -> None:
    """Send everything from `level` up to `stream` (standard error), replacing what was before."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    handler.addFilter(add_context)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(root.level, logging.WARNING))


def add_context(record: logging.LogRecord) -> bool:
    """Fix the context when the line is written, not when it is formatted."""
    record.context = _CONTEXT.get()
    return True


class JsonLines(logging.Formatter):
    """`at`, `level`, `logger`, `message`, then the fields; text is cut, secrets are blanked."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {
            "at": at.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _clean(record.getMessage()),
        }
        extra = {name: value for name, value in vars(record).items() if name not in _OWN}
        context = extra.pop("context", None) or {}
        for name, value in {**context, **extra}.items():
            line.setdefault(name, REDACTED if _SECRET_NAME.search(name) else _plain(value))
        if record.exc_info:
            trace = self.formatException(record.exc_info)
            line["trace"] = _clean(trace[-_TRACE_LENGTH_MAX:])
        return json.dumps(line, ensure_ascii=False, default=str)


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    return _clean(str(value)[:_VALUE_LENGTH_MAX])


def _clean(text: str) -> str:
    return _SECRET_VALUE.sub(REDACTED, text)
