"""What one piece of a history says by itself, whatever came before it.

Everything is relative (versions from the first seen, balances from zero with their lowest point),
so that pieces can be checked apart, on as many cores as there are, and joined afterwards.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from domain.checkpoint import CheckpointError, CheckSignature, SignerKey, WrongKeyError, open_head
from domain.leaves import TOPIC_MARK, LeafError, Shape, Values, read_slowly, shapes
from domain.plain_bill import (
    CLOSED,
    OPENED,
    RESERVED,
    SETTLED,
    Rate,
    SessionEvent,
    opened_at,
    plain_rate,
)
from domain.postings import ADJUSTMENTS, PAYOUT_FEE, PAYOUTS_PENDING
from domain.ranges import levels_over, peaks_of

_TOPIC_AT = len(TOPIC_MARK)
_FOUND_MAX = 300

Fold = Callable[["SegmentFacts", int, bytes, Sequence[bytes]], None]
"""Adds one event (position, originator, wanted values) to the facts."""


@dataclass(slots=True)
class Wallet:
    """How much a wallet's two accounts moved, and the lowest each was on the way."""

    available: int = 0
    available_min: int = 0
    reserved: int = 0
    reserved_min: int = 0

    def move(self, available: int, reserved: int) -> None:
        self.available += available
        self.reserved += reserved
        if self.available < self.available_min:  # noqa: PLR1730 (`min` costs three times as much)
            self.available_min = self.available
        if self.reserved < self.reserved_min:  # noqa: PLR1730 (as above, a million times over)
            self.reserved_min = self.reserved


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadFact:
    """A signed head inside a segment: what it claims, and the segment's own share of its tree."""

    size: int
    root: bytes
    peaks: list[bytes]
    signers: tuple[SignerKey, ...]


@dataclass(slots=True, kw_only=True)
class SegmentFacts:
    """All that joining needs. `broken` is (position, kind, expected, found) of the first break.

    `aggregates` has (first version, last version, aggregate) by id; `rates` the first position
    that each rate was used at; `sessions` the events of sessions that are not whole in here;
    `pending` (its first account alone) what was taken for payouts.
    """

    first: int
    sha256: str = ""
    events: int = 0
    peaks: list[bytes] = field(default_factory=list)
    heads: list[HeadFact] = field(default_factory=list)
    aggregates: dict[bytes, tuple[int, int, str]] = field(default_factory=dict)
    wallets: dict[bytes, Wallet] = field(default_factory=dict)
    rows: Counter[str] = field(default_factory=Counter)
    pending: Wallet = field(default_factory=Wallet)
    books: list[tuple[int, Values]] = field(default_factory=list)
    rates: dict[Rate, int] = field(default_factory=dict)
    sessions: dict[bytes, list[SessionEvent]] = field(default_factory=dict)
    bills: int = 0
    broken: tuple[int, str, str, str] | None = None

    def wallet(self, account: bytes) -> Wallet:
        found = self.wallets.get(account)
        if found is None:
            found = self.wallets[account] = Wallet()
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentJob:
    """Leaves from position `first` on, one a line, and the heads (size, note) that end in them.

    `load` gives the file, or a ValueError or OSError where it cannot be read.
    """

    first: int
    load: Callable[[], bytes]
    heads: tuple[tuple[int, str], ...]
    keys: tuple[SignerKey, ...]
    check: CheckSignature


def check_segment(job: SegmentJob) -> SegmentFacts:
    """Read, hash and add up one segment, to its end or its first break."""
    facts = SegmentFacts(first=job.first)
    try:
        data = job.load()
    except (ValueError, OSError) as damage:
        facts.broken = (job.first, "segment", "a file that can be read", str(damage))
        return facts
    facts.sha256 = hashlib.sha256(data).hexdigest()
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    try:
        _fold(lines, facts)
    except LeafError as broken:
        position = job.first + facts.events
        facts.broken = (position, broken.kind, str(broken.expected), str(broken.found))
    sha256 = hashlib.sha256
    leaves = [sha256(b"\x00" + line).digest() for line in lines[: facts.events]]
    levels = levels_over(leaves)
    facts.peaks = peaks_of(levels, facts.events)
    _open_heads(job, facts, levels)
    return facts


def _fold(lines: Sequence[bytes], facts: SegmentFacts) -> None:
    """One pass over the leaves; `facts.events` counts those that were good."""
    known = {topic: (shape, shape.pattern.fullmatch) for topic, shape in shapes().items()}
    unknown = (None, _no_match)
    aggregates, position = facts.aggregates, facts.first
    values: Values
    for line in lines:
        likely, match = known.get(line[line.rfind(TOPIC_MARK) + _TOPIC_AT : -2], unknown)
        found = match(line)
        if found is not None and likely is not None:
            shape = likely
            originator, spelled, *values = found.groups()
            version = int(spelled)
        else:
            shape, originator, version, values = read_slowly(line)
        before = aggregates.get(originator)
        if shape.begins != (version == 1) or (
            before is not None and (before[1] + 1 != version or before[2] != shape.aggregate)
        ):
            raise _misplaced(before, version, shape)
        fold = _FOLDS.get(shape.topic)
        if fold is not None:
            fold(facts, position, originator, values)
        first = version if before is None else before[0]
        aggregates[originator] = (first, version, shape.aggregate)
        position += 1
        facts.events += 1


def _no_match(_line: bytes) -> None:
    return None


def _misplaced(before: tuple[int, int, str] | None, version: int, shape: Shape) -> LeafError:
    """The event does not follow the ones before it of its aggregate."""
    topic = shape.topic.decode()
    if before is not None and before[2] != shape.aggregate:
        return LeafError("aggregate", expected=f"an event of a {before[2]}", found=topic)
    if before is not None:
        return LeafError(f"version of {topic}", expected=before[1] + 1, found=version)
    expected = "1" if shape.begins else "above 1"
    return LeafError(f"version of {topic}", expected=expected, found=version)


def _open_heads(job: SegmentJob, facts: SegmentFacts, levels: list[list[bytes]]) -> None:
    """Check the signatures of the heads that end in what was read; their roots need the rest."""
    for size, note in job.heads:
        within = size - job.first + 1
        if within > facts.events:
            return
        try:
            opened = open_head(note, keys=job.keys, check=job.check)
        except CheckpointError as broken:
            kind = "wrong key" if isinstance(broken, WrongKeyError) else "signed head"
            facts.broken = (size, kind, "a good signature", str(broken))
            return
        if opened.checkpoint.size != size:
            facts.broken = (size, "signed head", f"size {size}", f"size {opened.checkpoint.size}")
            return
        facts.heads.append(
            HeadFact(
                size=size,
                root=opened.checkpoint.root,
                peaks=peaks_of(levels, within),
                signers=opened.signers,
            )
        )


def _purchased(facts: SegmentFacts, _: int, originator: bytes, values: Sequence[bytes]) -> None:
    spelled, said, rail = values
    if said:
        pair = (rail, spelled, originator, spelled)
        _check_postings(said, b'["world:%b",-%b],["wallet:%b:available",%b]', pair, spelled)
    amount = int(spelled)
    facts.wallet(originator).move(amount, 0)
    if amount:
        facts.rows[f"world:{rail.decode()}"] -= amount


def _corrected(
    facts: SegmentFacts, position: int, originator: bytes, values: Sequence[bytes]
) -> None:
    added, corrects, said, removed = values
    if not 1 <= int(corrects) < position:
        expected = f"of an entry from 1 to {position - 1}"
        raise LeafError("correction", expected=expected, found=int(corrects))
    amount = int(added) - int(removed)
    if said:
        pair = (-amount, originator, amount)
        _check_postings(
            said, b'["adjustments",%d],["wallet:%b:available",%d]', pair, b"%d" % amount
        )
    facts.wallet(originator).move(amount, 0)
    if amount:
        facts.rows[ADJUSTMENTS] -= amount


def _reserved(
    facts: SegmentFacts, position: int, originator: bytes, values: Sequence[bytes]
) -> None:
    spelled, said, session = values
    if said:
        pair = (originator, spelled, originator, spelled)
        _check_postings(
            said, b'["wallet:%b:available",-%b],["wallet:%b:reserved",%b]', pair, spelled
        )
    amount = int(spelled)
    facts.wallet(originator).move(-amount, amount)
    _keep(facts, session, (position, RESERVED, originator, values))


def _settled(
    facts: SegmentFacts, position: int, originator: bytes, values: Sequence[bytes]
) -> None:
    charged, refunded, said = int(values[0]), int(values[2]), values[1]
    service, session = values[3], values[4]
    if said:
        expected = _settlement(originator, service, charged, refunded)
        if said != expected:
            raise _wrong_postings(expected, said)
    facts.wallet(originator).move(refunded, -charged - refunded)
    if charged:
        facts.rows[f"revenue:{service.decode()}"] += charged
    _keep(facts, session, (position, SETTLED, originator, values))
    _finish(facts, session)


def _settlement(originator: bytes, service: bytes, charged: int, refunded: int) -> bytes:
    """The postings of a settlement; without the legs that move nothing."""
    legs = []
    if charged + refunded:
        legs.append(b'["wallet:%b:reserved",%d]' % (originator, -charged - refunded))
    if charged:
        legs.append(b'["revenue:%b",%d]' % (service, charged))
    if refunded:
        legs.append(b'["wallet:%b:available",%d]' % (originator, refunded))
    return b"[%b]" % b",".join(legs)


def _withdrawn(facts: SegmentFacts, _: int, originator: bytes, values: Sequence[bytes]) -> None:
    spelled, said = values
    if said:
        pair = (originator, spelled, spelled)
        _check_postings(said, b'["wallet:%b:available",-%b],["payouts:pending",%b]', pair, spelled)
    _pend(facts, originator, int(spelled))


def _returned(facts: SegmentFacts, _: int, originator: bytes, values: Sequence[bytes]) -> None:
    spelled, said = values
    if said:
        pair = (spelled, originator, spelled)
        _check_postings(said, b'["payouts:pending",-%b],["wallet:%b:available",%b]', pair, spelled)
    _pend(facts, originator, -int(spelled))


def _pend(facts: SegmentFacts, originator: bytes, amount: int) -> None:
    """Credit goes from the wallet to what is being paid out; back where it is negative."""
    facts.wallet(originator).move(-amount, 0)
    facts.pending.move(amount, 0)
    if amount:
        facts.rows[PAYOUTS_PENDING] += amount


def _paid_out(facts: SegmentFacts, _: int, __: bytes, values: Sequence[bytes]) -> None:
    fee, paid, said, rail = int(values[0]), int(values[1]), values[2], values[3]
    moved = (
        (PAYOUTS_PENDING.encode(), -paid - fee),
        (b"world:" + rail, paid),
        (PAYOUT_FEE.encode(), fee),
    )
    legs = [(account, amount) for account, amount in moved if amount]
    expected = b"[%b]" % b",".join(b'["%b",%d]' % leg for leg in legs)
    if said and said != expected:
        raise _wrong_postings(expected, said)
    facts.pending.move(-paid - fee, 0)
    for account, amount in legs:
        facts.rows[account.decode()] += amount


def _check_postings(
    said: bytes, form: bytes, values: tuple[bytes | int, ...], amount: bytes
) -> None:
    """Hold the postings an event says against those that its amount makes."""
    expected = b"[]" if amount == b"0" else b"[%b]" % (form % values)
    if said != expected:
        raise _wrong_postings(expected, said)


def _wrong_postings(expected: bytes, said: bytes) -> LeafError:
    found = said[:_FOUND_MAX].decode("utf-8", "replace")
    return LeafError("postings", expected=expected.decode(), found=found)


def _keep(facts: SegmentFacts, session: bytes, event: SessionEvent) -> None:
    events = facts.sessions.get(session)
    if events is None:
        facts.sessions[session] = [event]
    else:
        events.append(event)


def _finish(facts: SegmentFacts, session: bytes) -> None:
    """A session that lies whole in this segment and adds up needs no further look.

    One that was closed after it was settled waits for the join, which looks at the same things.
    """
    events = facts.sessions[session]
    rate = plain_rate(events)
    if rate is not None:
        del facts.sessions[session]
        facts.bills += 1
        facts.rates.setdefault(rate, opened_at(events))


def _published(facts: SegmentFacts, position: int, _: bytes, values: Sequence[bytes]) -> None:
    facts.books.append((position, tuple(values)))


def _of_session(topic: bytes) -> Fold:
    def fold(
        facts: SegmentFacts, position: int, originator: bytes, values: Sequence[bytes]
    ) -> None:
        _keep(facts, originator, (position, topic, originator, values))

    return fold


_FOLDS: dict[bytes, Fold] = {
    b"account.credits_corrected": _corrected,
    b"account.credits_purchased": _purchased,
    b"account.credits_withdrawn": _withdrawn,
    b"account.payout_paid": _paid_out,
    b"account.payout_returned": _returned,
    RESERVED: _reserved,
    SETTLED: _settled,
    b"price_book.published": _published,
    OPENED: _of_session(OPENED),
    b"session.extended": _of_session(b"session.extended"),
    b"session.clock_resumed": _of_session(b"session.clock_resumed"),
    b"session.clock_paused": _of_session(b"session.clock_paused"),
    b"session.characters_spoken": _of_session(b"session.characters_spoken"),
    CLOSED: _of_session(CLOSED),
}
