"""The log at a million events: proofs made and checked, its tree's memory, and a start."""

from __future__ import annotations

import hashlib
import random
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from eventsourcing.persistence import StoredEvent

from domain.merkle import MerkleTree, verify_inclusion
from tests.bench.report import Row, percentile_ms
from tests.fakes.busy import Busy
from tests.fakes.stored_house import ledger_at, merkle_log

T = TypeVar("T")
EVENTS = 1_000_000
PROOFS = 1_000
STORED = 50_000
_PAGE_BYTES = 4_096
_BATCH = 1_000


def rows() -> list[Row]:
    """Proofs over a million leaves beside the goals; the start over fewer, told for a million."""
    before = _resident_mb()
    began = time.perf_counter()
    tree = MerkleTree()
    for number in range(EVENTS):
        tree.append(hashlib.sha256(b"\x00%d" % number).digest())
    appended = EVENTS / (time.perf_counter() - began)
    memory_mb = _resident_mb() - before
    making, checking = _proofs(tree)
    start_s = _start_s()
    return [
        Row(
            "inclusion proof, 1 M events: make p99",
            percentile_ms(making, 99),
            "",
            "",
            None,
            goal="≤ 5 ms",
        ),
        Row("the same: check p99", percentile_ms(checking, 99), "", "", None, goal="≤ 1 ms"),
        Row("tree over 1 M events", f"{memory_mb:.0f} MB", "", "", None),
        Row("leaves appended", f"{appended:,.0f}/s", "", "", None),
        Row("start over 1 M events, every leaf hashed anew", f"{start_s:.1f} s", "", "", None),
    ]


def _proofs(tree: MerkleTree) -> tuple[list[float], list[float]]:
    """Times in ms of making and of checking, over sizes with a ragged edge."""
    dice = random.Random(1)  # noqa: S311 (a benchmark wants repeatable dice)
    making, checking = [], []
    for _ in range(PROOFS):
        size = dice.randrange(EVENTS // 2, EVENTS + 1)
        index = dice.randrange(size)
        leaf, root = tree.leaf(index), tree.root(size)
        proof, took_ms = _timed(partial(tree.inclusion_proof, index, size))
        making.append(took_ms)
        holds, took_ms = _timed(
            partial(verify_inclusion, leaf, index=index, size=size, proof=proof, root=root)
        )
        assert holds
        checking.append(took_ms)
    return making, checking


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    began = time.perf_counter()
    done = work()
    return done, (time.perf_counter() - began) * 1_000


def _start_s() -> float:
    """How long the log of a stored ledger takes to be there, for a million events."""
    records = tuple(Busy().records(STORED))
    with tempfile.TemporaryDirectory() as folder, ledger_at(Path(folder)) as (_, recorder):
        for first in range(0, len(records), _BATCH):
            recorder.insert_events(
                [
                    StoredEvent(r.originator_id, r.originator_version, r.topic, r.state)
                    for r in records[first : first + _BATCH]
                ]
            )
        log, took_ms = _timed(lambda: merkle_log(recorder))
        return took_ms / 1_000 * EVENTS / log.size


def _resident_mb() -> float:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * _PAGE_BYTES / 1e6
