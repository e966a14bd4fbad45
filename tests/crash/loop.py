"""Kills a ledger in the middle of its work, again and again, and looks for what is missing."""

from __future__ import annotations

import multiprocessing
import os
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from tests.crash.judge import Judge
from tests.crash.load import live
from tests.fakes.cluster import Cluster

# A ledger grows with every life; a fresh one from time to time keeps a cycle short.
KILLS_PER_LEDGER = 50
WORK_S_MAX = 0.12
START_S_MAX = 30.0
READ_BYTES = 1 << 16


@dataclass
class Tally:
    """What a loop came to. `lost` counts acknowledged commands that are not stored as they were."""

    store: str
    kills: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    lost: int = 0
    events: int = 0
    signed_heads: int = 0
    ledgers: int = 0
    took_s: float = 0.0

    def as_json(self) -> dict[str, object]:
        return {**vars(self), "kills": dict(self.kills), "took_s": round(self.took_s, 1)}


class Victim:
    """One life of a ledger process; what it acknowledged comes through a pipe that outlives it."""

    def __init__(self, store: str, seed: int) -> None:
        context = multiprocessing.get_context("forkserver")
        # Loaded once and forked from, or every life would begin with a second of imports.
        context.set_forkserver_preload(["tests.crash.load"])
        reader, writer = context.Pipe(duplex=False)
        self.answers = bytearray()
        self._grown = threading.Event()
        self._process: ForkServerProcess = context.Process(
            target=live, args=(store, seed, writer), daemon=True
        )
        self._process.start()
        writer.close()
        self._reader = threading.Thread(target=self._read, args=(reader,), daemon=True)
        self._reader.start()

    def wait_for_answers(self) -> None:
        """Until it has acknowledged something more."""
        self._grown.clear()
        deadline = time.monotonic() + START_S_MAX
        while not self._grown.wait(0.5):
            assert self._process.is_alive(), "the ledger process ended by itself"
            assert time.monotonic() < deadline, "the ledger process does not answer"

    def kill(self) -> None:
        """SIGKILL: nothing runs any more; what was said before is read to its end."""
        self._process.kill()
        self._process.join()
        self._reader.join()
        self._process.close()

    def _read(self, reader: Connection) -> None:
        with reader:
            while chunk := os.read(reader.fileno(), READ_BYTES):
                self.answers += chunk
                self._grown.set()


def crash_postgres(
    kills: int, cluster: Cluster, dice: random.Random, progress: Callable[[int], None]
) -> Tally:
    """Kill the server or the ledger process, whichever the dice say."""
    return _crash("postgres", kills, dice, progress, lambda: _databases(cluster), cluster)


def crash_sqlite(kills: int, dice: random.Random, progress: Callable[[int], None]) -> Tally:
    """Kill the ledger process, which is the database too."""
    return _crash("sqlite", kills, dice, progress, _files, None)


@contextmanager
def _databases(cluster: Cluster) -> Iterator[str]:
    yield cluster.create_database()


@contextmanager
def _files() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="payphone-crash-") as folder:
        yield str(Path(folder) / "ledger.db")


def _crash(
    name: str,
    kills: int,
    dice: random.Random,
    progress: Callable[[int], None],
    fresh: Callable[[], AbstractContextManager[str]],
    cluster: Cluster | None,
) -> Tally:
    tally = Tally(name)
    began = time.monotonic()
    while tally.kills.total() < kills:
        with fresh() as store:
            due = min(KILLS_PER_LEDGER, kills - tally.kills.total())
            _crash_ledger(store, due, dice, progress, tally, cluster)
        tally.ledgers += 1
        tally.took_s = time.monotonic() - began
    return tally


def _crash_ledger(
    store: str,
    kills: int,
    dice: random.Random,
    progress: Callable[[int], None],
    tally: Tally,
    cluster: Cluster | None,
) -> None:
    judge, patience = Judge(store), threading.Event()
    victim: Victim | None = None
    try:
        for _ in range(kills):
            if victim is None:
                victim = Victim(store, dice.getrandbits(32))
            victim.wait_for_answers()
            patience.wait(dice.random() * WORK_S_MAX)
            if cluster is not None and dice.random() < 1 / 2:
                tally.kills["server"] += 1
                cluster.kill()
                cluster.start()
                # It lives on, and finds out what became of the write that was cut off.
                victim.wait_for_answers()
            else:
                tally.kills["ledger process"] += 1
                dead, victim = victim, None
                dead.kill()
                judge.look()
                _count(judge, dead, tally)
            progress(tally.kills.total())
    finally:
        if victim is not None:
            victim.kill()
    if victim is not None:
        judge.look()
        _count(judge, victim, tally)
    tally.events += judge.events
    tally.signed_heads += judge.close()


def _count(judge: Judge, victim: Victim, tally: Tally) -> None:
    acknowledged, lost = judge.lost(bytes(victim.answers))
    tally.acknowledged += acknowledged
    tally.lost += lost
