from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from adapters.keys import check_signature
from adapters.store.audit import Audit, BrokenLedgerError, audit, bills, session_records
from domain.account import Account
from domain.checkpoint import Checkpoint, SignerKey
from domain.merkle import EMPTY_ROOT, MerkleTree, leaf_hash
from domain.money import NOTHING, Microcredits
from domain.record import Record, canonical
from domain.segment import SegmentJob, check_segment
from domain.session import Session
from tests.fakes.bills import SESSION_ID, Tale
from tests.fakes.log import SIGNER, SIGNER_KEY
from tests.fakes.stored import encode, replay_all, retold

TALE = Tale(steps=(("resume", 1), ("wait", 10_000), ("pause", 1), ("extend", 60_000)))
RECORDS = tuple(TALE.journal.records)
Tamper = Callable[[list[Record]], Sequence[Record]]


def heads(records: Sequence[Record], *sizes: int) -> list[tuple[int, str]]:
    """Heads of these sizes, signed by the gateway over these records."""
    tree, found = MerkleTree(), []
    for size in range(len(records) + 1):
        if size in sizes:
            head = Checkpoint(origin=SIGNER_KEY.name, size=size, root=tree.root())
            found.append((size, head.signed(SIGNER_KEY, SIGNER.sign)))
        if size < len(records):
            tree.append(leaf_hash(records[size].leaf))
    return found


def run(
    records: Sequence[Record],
    checkpoints: Sequence[tuple[int, str]] = (),
    *,
    progress: Callable[[int], None] = lambda _: None,
    key: SignerKey | None = SIGNER_KEY,
    until: int | None = None,
) -> Audit:
    return audit(
        records,
        checkpoints=checkpoints,
        key=key,
        check=check_signature,
        progress=progress,
        until=until,
    )


def put(index: int, **changes: Any) -> Tamper:  # noqa: ANN401 (parts of a record)
    """One record with other parts; `fields` are changed in its state."""

    def tamper(records: list[Record]) -> list[Record]:
        record = records[index]
        fields: Any = changes.pop("fields", {})
        told = retold(record, **fields) if fields else record
        records[index] = replace(told, **changes)
        return records

    return tamper


def test_an_honest_ledger_holds() -> None:
    found = run(RECORDS, heads(RECORDS, 0, 1, 7, len(RECORDS)))

    tree = MerkleTree()
    for record in RECORDS:
        tree.append(leaf_hash(record.leaf))
    assert (found.events, found.checkpoints, found.root) == (len(RECORDS), 4, tree.root())
    assert found.books.total == 0
    assert found.aggregates == replay_all(RECORDS)


def test_an_empty_ledger_holds() -> None:
    assert run((), heads((), 0)).root == EMPTY_ROOT


def test_a_replay_can_stop_anywhere() -> None:
    found = run(RECORDS, heads(RECORDS, 3, len(RECORDS)), until=5)

    assert (found.events, found.checkpoints) == (5, 1)


def test_without_a_key_heads_are_not_counted() -> None:
    assert run(RECORDS, heads(RECORDS, 3), key=None).checkpoints == 0


def test_progress_is_told_and_ends_with_the_whole() -> None:
    told: list[int] = []

    run(RECORDS, progress=told.append)

    assert told == [len(RECORDS)]


def appended(topic: str, **fields: object) -> Tamper:
    """One more event of the session, which is none of a session's."""

    def tamper(records: list[Record]) -> list[Record]:
        version = max(r.originator_version for r in RECORDS if r.originator_id == SESSION_ID)
        pattern = next((r.state for r in RECORDS if r.topic == topic), canonical(fields))
        strange = Record(
            position=len(records) + 1,
            originator_id=SESSION_ID,
            originator_version=version + 1,
            topic=topic,
            state=pattern,
        )
        return [*records, strange]

    return tamper


OPENED = next(i for i, r in enumerate(RECORDS) if r.topic == "session.opened")
HELD = next(i for i, r in enumerate(RECORDS) if r.topic == "account.credits_reserved")
PAID = next(i for i, r in enumerate(RECORDS) if r.topic == "account.credits_purchased")


@pytest.mark.parametrize(
    ("tamper", "position", "kind"),
    [
        (lambda r: r[:3] + r[4:], 4, "gap"),
        (lambda r: [*r[:3], r[3], *r[3:]], 5, "gap"),
        (lambda r: [r[1], r[0], *r[2:]], 1, "gap"),
        (put(HELD, originator_version=9), HELD + 1, "version of account.credits_reserved"),
        (put(OPENED, originator_id=UUID(int=5)), OPENED + 2, "version of session.clock_resumed"),
        (put(HELD, topic="account.credits_minted"), HELD + 1, "newer event"),
        (put(HELD, state=b"{}"), HELD + 1, "content"),
        (put(HELD, state=b"not json"), HELD + 1, "content"),
        (put(HELD, state=b'{"a": 1}'), HELD + 1, "state"),
        (put(HELD, fields={"amount": -1}), HELD + 1, "content"),
        (put(HELD, fields={"amount": 10**13}), HELD + 1, "content"),
        (put(HELD, topic="session.closed"), HELD + 1, f"aggregate {TALE.account.id}"),
        (put(HELD, topic="account.opened"), HELD + 1, "newer event"),
        (put(HELD, fields={"amount": 1, "postings": []}), HELD + 1, "postings"),
        (put(HELD, fields={"class_version": 1}), HELD + 1, "postings"),
        (put(HELD, fields={"class_version": 3}), HELD + 1, "newer event"),
        (put(PAID, fields={"amount": 5}), OPENED, "content"),
        (appended("account.credits_purchased"), len(RECORDS) + 1, f"aggregate {SESSION_ID}"),
        (appended("account.opened"), len(RECORDS) + 1, f"aggregate {SESSION_ID}"),
        (appended("payment.reclaimed", at_ms=1), len(RECORDS) + 1, f"aggregate {SESSION_ID}"),
    ],
)
def test_the_first_break_is_named(tamper: Tamper, position: int, kind: str) -> None:
    with pytest.raises(BrokenLedgerError) as broken:
        run(tamper(list(RECORDS)))

    assert (broken.value.position, broken.value.kind) == (position, kind)
    assert str(broken.value).startswith(f"position {position}: {kind}: expected ")


@pytest.mark.parametrize("corrects", [0, -1, len(RECORDS) + 1, len(RECORDS) + 2])
def test_a_correction_of_nothing_that_was_there_is_named(corrects: int) -> None:
    account = replay_all(RECORDS)[TALE.account.id]
    assert isinstance(account, Account)
    account.correct(
        correction_id=UUID(int=1),
        added=Microcredits(5),
        removed=NOTHING,
        who="op",
        why="x",
        corrects_position=corrects,
        at_ms=TALE.now_ms,
    )
    (event,) = account.collect_events()
    records = [*RECORDS, encode(event, position=len(RECORDS) + 1)]

    with pytest.raises(BrokenLedgerError, match=f"correction: expected of .*, found {corrects}"):
        run(records)
    facts = check_segment(
        SegmentJob(
            first=1,
            load=lambda: b"".join(r.leaf + b"\n" for r in records),
            heads=(),
            keys=(),
            check=check_signature,
        )
    )
    assert facts.broken is not None
    assert facts.broken[:2] == (len(records), "correction")


def test_a_plausible_edit_is_found_by_the_next_signed_head() -> None:
    edited = put(PAID, fields={"amount": 10**12 + 1})(list(RECORDS))

    assert run(edited).events == len(RECORDS)
    with pytest.raises(BrokenLedgerError, match="position 4: signed head: expected root"):
        run(edited, heads(RECORDS, 2, 4, len(RECORDS)))


def test_a_truncated_ledger_is_found_by_a_head_beyond_it() -> None:
    with pytest.raises(BrokenLedgerError, match=f"truncated: expected {len(RECORDS)} events"):
        run(RECORDS[:5], heads(RECORDS, 3, len(RECORDS)))


def test_a_head_that_is_not_ours_is_found() -> None:
    ((size, note),) = heads(RECORDS, 6)

    with pytest.raises(BrokenLedgerError, match="position 6: signed head: expected a good"):
        run(RECORDS, [(size, note.replace("gateway.test\n6", "gateway.test\n7"))])


def test_a_head_filed_under_another_size_is_found() -> None:
    ((_, note),) = heads(RECORDS, 6)

    with pytest.raises(BrokenLedgerError, match="position 5: signed head: expected root"):
        run(RECORDS, [(5, note)])


def test_every_settled_bill_is_recomputed() -> None:
    found = run(RECORDS)

    ((session_id, bill),) = bills(RECORDS, found.aggregates)

    assert session_id == SESSION_ID
    assert bill == TALE.document()["statement"]


def test_a_bill_that_does_not_follow_is_named() -> None:
    closed = next(i for i, r in enumerate(RECORDS) if r.topic == "session.closed")
    edited = put(closed, fields={"charged": 999, "refunded": 11_001})(list(RECORDS))
    found = run(edited)

    with pytest.raises(BrokenLedgerError, match="bill: charged: expected 1000, found 999"):
        list(bills(edited, found.aggregates))


def test_a_session_has_its_own_records_and_no_others() -> None:
    session = run(RECORDS).aggregates[SESSION_ID]
    assert isinstance(session, Session)

    assert session_records(RECORDS, session) == TALE.records
