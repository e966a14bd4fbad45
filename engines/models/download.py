"""One file over HTTP: resumed where it broke off, never fetched twice."""

from __future__ import annotations

import http.client
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from engines.models.problems import SourceDownError

Tick = Callable[[int], None]
"""Called with the number of bytes on disk so far."""

CHUNK_BYTES: Final = 1 << 18
TRIES_WITHOUT_PROGRESS_MAX: Final = 3
READ_TIMEOUT_S: Final = 30.0
PROBE_TIMEOUT_S: Final = 2.0
PARTIAL: Final = 206
RANGE_REFUSED: Final = 416


def answering(servers: Iterable[str], timeout_s: float = PROBE_TIMEOUT_S) -> frozenset[str]:
    """Say which servers answer at all, whatever they answer; all are asked at once.

    Each probe has its own thread because looking up a name has no time limit of its own.
    """
    asked = {server: threading.Event() for server in servers}
    deadline = time.monotonic() + timeout_s
    probes = [
        threading.Thread(target=_knock, args=(server, asked[server], timeout_s), daemon=True)
        for server in asked
    ]
    for probe in probes:
        probe.start()
    for probe in probes:
        probe.join(max(0.0, deadline - time.monotonic()))
    return frozenset(server for server, answered in asked.items() if answered.is_set())


def _knock(server: str, answered: threading.Event, timeout_s: float) -> None:
    request = urllib.request.Request(server, method="HEAD")  # noqa: S310 (from the manifest)
    try:
        urllib.request.urlopen(request, timeout=timeout_s).close()  # noqa: S310 (as above)
    except urllib.error.HTTPError as error:
        error.close()
    except (OSError, http.client.HTTPException, ValueError):
        return
    answered.set()


def download(url: str, part: Path, size: int, tick: Tick) -> None:
    """Bring `part` to `size` bytes, going on from what is there.

    A dropped connection is taken up again where it broke; three tries without a new byte are
    `SourceDownError`, and what was fetched stays for the next run.
    """
    idle = 0
    while (have := _length(part)) < size:
        try:
            _continue(url, part, have, size, tick)
        except urllib.error.HTTPError as error:
            _refused(url, part, error)
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
        else:
            reason = "the connection closed early"
        idle = 0 if _length(part) > have else idle + 1
        if idle >= TRIES_WITHOUT_PROGRESS_MAX:
            raise SourceDownError(url, reason)
    if _length(part) > size:
        part.unlink()
        raise SourceDownError(url, f"sent more than the {size} bytes expected")


def _continue(url: str, part: Path, have: int, size: int, tick: Tick) -> None:
    headers = {"Range": f"bytes={have}-"} if have else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 (from the manifest)
    with urllib.request.urlopen(request, timeout=READ_TIMEOUT_S) as answer:  # noqa: S310 (as above)
        resumed = have > 0 and answer.status == PARTIAL
        written = have if resumed else 0
        with part.open("ab" if resumed else "wb") as out:
            # One byte over the size is enough to know that this is another file.
            while written <= size and (block := answer.read(CHUNK_BYTES)):
                out.write(block)
                written += len(block)
                tick(min(written, size))


def _refused(url: str, part: Path, error: urllib.error.HTTPError) -> None:
    error.close()
    if error.code == RANGE_REFUSED:
        part.unlink(missing_ok=True)  # What we have is not a beginning of what they have.
    reason = f"HTTP {error.code} {error.reason}"
    raise SourceDownError(url, reason) from error


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
