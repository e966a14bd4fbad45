from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from time import monotonic

import pytest

from adapters.store.lease import TTL_MS
from adapters.store.postgres import PostgresRecorder
from domain.payment import Payment
from tests.fakes.teller import ACCOUNT_ID, RAIL

pytestmark = pytest.mark.postgres

ROOT = Path(__file__).parents[4]
TTL_SHORT_MS = 400
IN_FLIGHT = 8
ENOUGH = 30
PATIENCE_S = 20.0
REPLACED_S = 5.0


class Teller:
    """A process of `tests.fakes.teller`, and what it has said."""

    def __init__(self, url: str, name: str, ttl_ms: int) -> None:
        self.said: list[str] = []
        self._heard = threading.Condition()
        # A process that is killed leaves the folder of its socket behind.
        self._folder = tempfile.TemporaryDirectory()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.teller", url, name, str(ttl_ms), str(IN_FLIGHT)],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": self._folder.name},
            stdout=subprocess.PIPE,
            text=True,
        )
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._begin()

    @property
    def paid(self) -> set[str]:
        return {line.removeprefix("paid ") for line in self.said if line.startswith("paid ")}

    def hear(self, line: str) -> None:
        """Wait until it says this."""
        with self._heard:
            assert self._heard.wait_for(lambda: line in self.said, PATIENCE_S), line

    def hear_more(self, payments: int = ENOUGH) -> None:
        """Wait until it has paid that often from now on."""
        with self._heard:
            enough = len(self.paid) + payments
            assert self._heard.wait_for(lambda: len(self.paid) >= enough, PATIENCE_S)

    def send(self, what: signal.Signals) -> None:
        self._process.send_signal(what)

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        self._thread.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._folder.cleanup()

    def _begin(self) -> None:
        self._thread.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._heard:
                self.said.append(line.strip())
                self._heard.notify_all()


@contextmanager
def two_tellers(url: str, ttl_ms: int) -> Iterator[tuple[Teller, Teller]]:
    """Two processes that pay through one ledger; the first owns it."""
    with closing(Teller(url, "first", ttl_ms)) as owner:
        owner.hear("owner")
        with closing(Teller(url, "second", ttl_ms)) as follower:
            follower.hear("follower")
            owner.hear_more()
            follower.hear_more()
            yield owner, follower


def check(url: str, *tellers: Teller) -> None:
    """Everything that was said to be paid is credited, and nothing is credited twice."""
    with closing(PostgresRecorder(url)) as recorder:
        records = tuple(recorder.scan())
    credited = Counter(r.originator_id for r in records if r.topic == "payment.credited")
    bought = Counter(
        r.fields["payment_id"] for r in records if r.topic == "account.credits_purchased"
    )
    said = {Payment.create_id(RAIL, key) for teller in tellers for key in teller.paid}
    assert [r.position for r in records] == list(range(1, len(records) + 1))
    assert said <= set(credited)
    assert set(credited.values()) == set(bought.values()) == {1}
    assert set(bought) == {str(payment_id) for payment_id in credited}
    assert len(bought) == sum(r.originator_id == ACCOUNT_ID for r in records) - 1


def test_a_killed_owner_is_replaced_within_five_seconds_and_nothing_is_lost_or_doubled(
    database: str,
) -> None:
    with two_tellers(database, TTL_MS) as (owner, follower):
        owner.send(signal.SIGKILL)
        killed_s = monotonic()
        follower.hear("owner")
        replaced_s = monotonic() - killed_s
        follower.hear_more()

    assert replaced_s < REPLACED_S
    assert not [line for line in follower.said if line.startswith("failed")]
    check(database, owner, follower)


def test_an_owner_that_slept_follows_the_new_one_and_its_callers_get_right_answers(
    database: str,
) -> None:
    with two_tellers(database, TTL_SHORT_MS) as (owner, follower):
        owner.send(signal.SIGSTOP)
        follower.hear("owner")
        follower.hear_more()
        owner.send(signal.SIGCONT)
        owner.hear_more()

        assert "follower" in owner.said

    check(database, owner, follower)
    assert not [line for line in owner.said + follower.said if line.startswith("failed")]


def test_an_owner_that_leaves_hands_over_at_once(database: str) -> None:
    with two_tellers(database, TTL_MS) as (owner, follower):
        owner.send(signal.SIGINT)
        left_s = monotonic()
        follower.hear("owner")

        assert monotonic() - left_s < TTL_MS / 1_000
        follower.hear_more()

    check(database, owner, follower)
