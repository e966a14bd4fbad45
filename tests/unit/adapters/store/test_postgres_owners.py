from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from adapters.store.postgres import PostgresRecorder

pytestmark = pytest.mark.postgres

ROOT = Path(__file__).parents[4]
TTL_MS = 300
ENOUGH = 20


class Writer:
    """A process of `tests.fakes.writer`, and what it has said was stored."""

    def __init__(self, url: str, name: str) -> None:
        self.name = name
        self.stored: list[int] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.writer", url, name, str(TTL_MS)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )

    def hear(self) -> str:
        assert self._process.stdout is not None
        word = self._process.stdout.readline().strip()
        if word.isdigit():
            self.stored.append(int(word))
        return word

    def hear_until(self, word: str) -> None:
        while (heard := self.hear()) != word:
            assert heard, f"{self.name} left without {word!r}"

    def hear_some(self) -> None:
        for _ in range(ENOUGH):
            assert self.hear().isdigit()

    def send(self, what: signal.Signals) -> None:
        self._process.send_signal(what)

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        while self.hear():
            continue
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextmanager
def owner_and_standby(url: str) -> Iterator[tuple[Writer, Writer]]:
    """Two processes that want the lease; the first has it and has written under it."""
    with closing(Writer(url, "first.one")) as owner:
        owner.hear_until("holds")
        with closing(Writer(url, "second.one")) as standby:
            owner.hear_some()
            yield owner, standby


def check(url: str, *writers: Writer) -> None:
    """Nothing acknowledged is missing, nobody's place was given twice, and the hand-over is one."""
    with closing(PostgresRecorder(url)) as recorder:
        records = tuple(recorder.scan())
    assert [r.position for r in records] == list(range(1, len(records) + 1))
    for writer in writers:
        own = {r.position for r in records if r.topic == writer.name}
        assert set(writer.stored) <= own
    topics = [r.topic for r in records]
    assert topics == sorted(topics)


def test_a_killed_owner_is_replaced_and_nothing_acknowledged_is_lost(database: str) -> None:
    with owner_and_standby(database) as (owner, standby):
        owner.send(signal.SIGKILL)

        standby.hear_until("holds")
        standby.hear_some()

    check(database, owner, standby)


def test_an_owner_that_slept_is_fenced_when_it_wakes(database: str) -> None:
    with owner_and_standby(database) as (owner, standby):
        owner.send(signal.SIGSTOP)
        standby.hear_until("holds")
        standby.hear_some()
        owner.send(signal.SIGCONT)

        owner.hear_until("fenced")

    check(database, owner, standby)
