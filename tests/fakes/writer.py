"""A process that waits for the lease, then writes as fast as it can and says what was stored.

    python -m tests.fakes.writer URL NAME TTL_MS

It prints `holds`, then a position a line, and `fenced` before it leaves.
"""

from __future__ import annotations

import sys
import threading
from contextlib import closing
from uuid import uuid4

from eventsourcing.persistence import StoredEvent

from adapters.store.fence import FencedError
from adapters.store.lease import Lease, LeaseKeeper, Leases
from adapters.store.postgres import PostgresRecorder


def say(word: object) -> None:
    print(word, flush=True)


def write(url: str, name: str, ttl_ms: int) -> None:
    """Write until another process has taken over."""
    with closing(PostgresRecorder(url)) as recorder, closing(Leases(url)) as leases:
        is_held = threading.Event()

        def taken(lease: Lease) -> None:
            recorder.hold(lease)
            is_held.set()

        keeper = LeaseKeeper(leases, address=name, taken=taken, lost=lambda: None, ttl_ms=ttl_ms)
        with closing(keeper):
            is_held.wait()
            say("holds")
            while True:
                event = StoredEvent(
                    originator_id=uuid4(), originator_version=1, topic=name, state=b"{}"
                )
                try:
                    (position,) = recorder.insert_events([event])
                except FencedError:
                    say("fenced")
                    return
                say(position)


if __name__ == "__main__":
    write(sys.argv[1], sys.argv[2], int(sys.argv[3]))
