"""Replays a stored ledger from its first event and names the first thing that does not hold."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from eventsourcing.persistence import DataError, StoredEvent
from eventsourcing.utils import get_topic

from domain.aggregate import LedgerAggregate
from domain.bill import BillError, concerns, statement
from domain.breaks import BrokenHistoryError
from domain.checkpoint import CheckpointError, CheckSignature, SignerKey, WrongKeyError, open_head
from domain.ledger import EventMapper, UnknownEventError, project
from domain.merkle import MerkleTree, leaf_hash
from domain.postings import Postings, PostingsError, TrialBalance
from domain.record import Record, canonical, nesting
from domain.session import Session

_LEVELS_MAX = 32


class BrokenLedgerError(BrokenHistoryError):
    """The first break of a stored ledger."""


@dataclass(slots=True)
class Audit:
    """What a whole replay found; `root` is the tree's over every event."""

    events: int = 0
    checkpoints: int = 0
    root: bytes = b""
    books: TrialBalance = field(default_factory=TrialBalance)
    aggregates: dict[UUID, LedgerAggregate] = field(default_factory=dict)


def audit(
    records: Iterable[Record],
    *,
    checkpoints: Iterable[tuple[int, str]],
    key: SignerKey | None,
    check: CheckSignature,
    progress: Callable[[int], None],
    until: int | None = None,
    former: Sequence[SignerKey] = (),
) -> Audit:
    """Check order, versions, contents, books and every signed head; `BrokenLedgerError` if not.

    Without a `key` the heads' roots are not checked; `former` are keys the log signed with before.
    `until` stops after that position.
    `progress` is told how many events were done.
    """
    found = Audit()
    tree = MerkleTree()
    heads = _Heads(checkpoints, keys=() if key is None else (key, *former), check=check)
    mapper = EventMapper(transcoder=None)  # type: ignore[arg-type]  # it writes its own JSON
    found.checkpoints += heads.check_at(tree)
    for record in _readable(records, found):
        if until is not None and record.position > until:
            break
        _check_place(record, found)
        _check_content(record, found, mapper)
        _check_correction(record)
        wrong = _posted(record, found)
        if wrong:
            raise BrokenLedgerError(
                record.position,
                "books",
                expected="balanced postings and no wallet below zero",
                found=", ".join(f"{p.account} {p.amount:+d}" for p in wrong),
            )
        tree.append(leaf_hash(record.leaf))
        found.events += 1
        found.checkpoints += heads.check_at(tree)
        if found.events % 1_000 == 0:
            progress(found.events)
    progress(found.events)
    if until is None:
        heads.check_rest(tree.size)
    found.root = tree.root()
    return found


def _check_correction(record: Record) -> None:
    """What is put right was there before."""
    if record.topic != "account.credits_corrected":
        return
    corrects = record.fields["corrects_position"]
    if not 1 <= corrects < record.position:
        raise BrokenLedgerError(
            record.position,
            "correction",
            expected=f"of an entry from 1 to {record.position - 1}",
            found=corrects,
        )


def _posted(record: Record, found: Audit) -> Postings:
    """Add the event to the books; the postings that left an account wrong."""
    try:
        return found.books.post(record)
    except PostingsError as broken:
        raise BrokenLedgerError(
            record.position, "postings", expected=broken.expected, found=broken.found
        ) from broken


def _readable(records: Iterable[Record], found: Audit) -> Iterator[Record]:
    """The records, where a row that cannot be one is a break at its place."""
    try:
        yield from records
    except DataError as damage:
        raise BrokenLedgerError(
            found.events + 1, "row", expected="a stored event", found=damage
        ) from damage


def _check_place(record: Record, found: Audit) -> None:
    if record.position != found.events + 1:
        raise BrokenLedgerError(
            found.events + 1, "gap", expected=found.events + 1, found=record.position
        )
    known = found.aggregates.get(record.originator_id)
    version = 1 if known is None else known.version + 1
    if record.originator_version != version:
        raise BrokenLedgerError(
            record.position,
            f"version of {record.topic}",
            expected=version,
            found=record.originator_version,
        )
    if known is not None and record.topic.partition(".")[0] != get_topic(type(known)):
        raise BrokenLedgerError(
            record.position,
            f"aggregate {record.originator_id}",
            expected=f"an event of a {get_topic(type(known))}",
            found=record.topic,
        )


def _check_content(record: Record, found: Audit, mapper: EventMapper) -> None:
    """The event reads, is written canonically, and its aggregate accepts it."""
    try:
        # Counted before parsing: the parser answers a hostile depth with the end of the process.
        is_deep = record.state.count(b"[") > _LEVELS_MAX and nesting(record.state) > _LEVELS_MAX
        if is_deep or canonical(record.fields) != record.state:
            raise BrokenLedgerError(
                record.position, "state", expected="canonical JSON", found=record.state[:80]
            )
        event = mapper.to_domain_event(
            StoredEvent(
                originator_id=record.originator_id,
                originator_version=record.originator_version,
                topic=record.topic,
                state=record.state,
            )
        )
        replayed = project(found.aggregates.get(record.originator_id), [event])
    except UnknownEventError as unknown:
        raise BrokenLedgerError(
            record.position,
            "newer event",
            expected="an event this version of Payphone knows",
            found=unknown,
        ) from unknown
    except (ValueError, AssertionError, LookupError, AttributeError, TypeError) as damage:
        raise BrokenLedgerError(
            record.position, "content", expected=f"a valid {record.topic}", found=str(damage)[:200]
        ) from damage
    assert replayed is not None, "projecting an event gives an aggregate"  # noqa: S101 (states what cannot be otherwise)
    found.aggregates[record.originator_id] = replayed


class _Heads:
    """The signed heads in order of size, each held against the tree when it has that size."""

    def __init__(
        self,
        checkpoints: Iterable[tuple[int, str]],
        *,
        keys: Sequence[SignerKey],
        check: CheckSignature,
    ) -> None:
        self._waiting = deque(checkpoints)
        self._keys = keys
        self._check = check

    def check_at(self, tree: MerkleTree) -> int:
        if not self._waiting or self._waiting[0][0] > tree.size:
            return 0
        size, note = self._waiting.popleft()
        if size < tree.size:
            # One that is passed over would hold back all the others.
            raise BrokenLedgerError(
                tree.size, "signed heads", expected=f"a size of {tree.size} or more", found=size
            )
        if not self._keys:
            return 0
        try:
            head = open_head(note, keys=self._keys, check=self._check).checkpoint
        except CheckpointError as broken:
            kind = "wrong key" if isinstance(broken, WrongKeyError) else "signed head"
            raise BrokenLedgerError(
                size, kind, expected="a good signature", found=broken
            ) from broken
        if head.size != size or head.root != tree.root():
            raise BrokenLedgerError(
                size,
                "signed head",
                expected=f"root {head.root.hex()} over {head.size} events",
                found=f"root {tree.root().hex()} over {size}",
            )
        return 1

    def check_rest(self, size: int) -> None:
        """A head larger than the log was signed over events that are gone."""
        beyond = [s for s, _ in self._waiting if s > size]
        if beyond:
            raise BrokenLedgerError(
                size + 1, "truncated", expected=f"{max(beyond)} events", found=f"{size}"
            )


def bills(
    records: Iterable[Record], aggregates: dict[UUID, LedgerAggregate]
) -> Iterator[tuple[UUID, dict[str, object]]]:
    """Recompute every settled session's statement; `BrokenLedgerError` at the first that fails."""
    settled = {i: a for i, a in aggregates.items() if isinstance(a, Session) and not a.is_open}
    by_session: dict[UUID, list[Record]] = {i: [] for i in settled}
    books: list[Record] = []
    for record in records:
        if record.topic == "price_book.published":
            books.append(record)
        elif record.originator_id in by_session:
            by_session[record.originator_id].append(record)
        elif record.topic.startswith("account."):
            session_id = record.fields.get("session_id")
            if session_id is not None and UUID(session_id) in by_session:
                by_session[UUID(session_id)].append(record)
    for session_id, own in by_session.items():
        version = settled[session_id].price_book
        book = [b for b in books if b.fields["version_name"] == version]
        yield session_id, _statement([*book, *own])


def session_records(records: Iterable[Record], session: Session) -> tuple[Record, ...]:
    """The records that make one session's bill."""
    return tuple(
        r
        for r in records
        if r.originator_id == session.id
        or (r.originator_id == session.account_id and concerns(r, str(session.id)))
        or (r.topic == "price_book.published" and r.fields["version_name"] == session.price_book)
    )


def _statement(records: list[Record]) -> dict[str, object]:
    try:
        return statement(records)
    except BillError as broken:
        position = records[-1].position
        raise BrokenLedgerError(
            position, f"bill: {broken.where}", expected=broken.expected, found=broken.found
        ) from broken
    except (ValueError, LookupError) as damage:
        raise BrokenLedgerError(
            records[-1].position, "bill", expected="values with a price", found=damage
        ) from damage
