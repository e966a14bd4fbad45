"""Bills of histories made up on the spot, with a log around them as a gateway would sign it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from adapters.keys import Ed25519Signer
from domain.account import Account
from domain.audit import FORMAT, evidence_of
from domain.bill import concerns, statement
from domain.checkpoint import Checkpoint, SignerKey
from domain.merkle import MerkleTree, leaf_hash
from domain.money import Microcredits
from domain.price_list import PublishedPriceBook
from domain.pricing import DEFAULT_PRICE_BOOK, UNITS
from domain.record import Record, canonical
from domain.session import Order, Session
from tests.fakes.log import SIGNER, SIGNER_KEY
from tests.fakes.stored import Journal, retold
from tests.strategies import START_MS

SESSION_ID = UUID(int=100)
LIFETIME_MS = 600_000


@dataclass(kw_only=True)
class Tale:
    """One session from opening to settlement, told by steps; other events stand in between.

    A step is (what, number): `wait` ms, `resume` and `pause` a connection, `observe`, `crash`,
    `extend` by a quantity, `speak` up to a total. A step that is refused tells nothing.
    """

    service: str = "stt"
    quantity: int = 60_000
    steps: Sequence[tuple[str, int]] = ()
    journal: Journal = field(default_factory=Journal)
    now_ms: int = START_MS

    def __post_init__(self) -> None:
        book = PublishedPriceBook.publish(DEFAULT_PRICE_BOOK, at_ms=self.now_ms)
        self.account = Account.open(chain="evm", wallet="0x" + "1" * 40, at_ms=self.now_ms)
        self.account.purchase(
            Microcredits(10**12), payment_id=UUID(int=7), rail="cash", at_ms=self.now_ms
        )
        self.journal.save(book, self.account)
        self._reserve(UUID(int=200), Microcredits(1))
        order = Order(
            service=self.service,
            tariff=DEFAULT_PRICE_BOOK.tariff(self.service),
            price_book=DEFAULT_PRICE_BOOK.version,
            quantity=self.quantity,
            expires_at_ms=self.now_ms + LIFETIME_MS,
        )
        self._reserve(SESSION_ID, order.price)
        self.session = Session.open(
            order,
            session_id=SESSION_ID,
            account_id=self.account.id,
            bundle_id=None,
            request_hash="",
            at_ms=self.now_ms,
        )
        self.journal.save(self.session)
        for what, number in self.steps:
            self._step(what, number)
        self._end()

    @property
    def records(self) -> tuple[Record, ...]:
        """The records that make the bill."""
        return tuple(
            r
            for r in self.journal.records
            if r.originator_id == SESSION_ID
            or r.topic == "price_book.published"
            or concerns(r, str(SESSION_ID))
        )

    def document(
        self, *, key: SignerKey = SIGNER_KEY, signer: Ed25519Signer = SIGNER
    ) -> dict[str, Any]:
        return document_of(self.journal.records, self.records, key=key, signer=signer)

    def file(self) -> bytes:
        return json.dumps(self.document(), indent=1).encode()

    def _step(self, what: str, number: int) -> None:
        session, is_clocked = self.session, UNITS[self.service] == "ms"
        can_go_on = session.is_open and not session.is_spent(self.now_ms)
        match what:
            case "wait":
                self.now_ms += number
            case "resume" if is_clocked and can_go_on:
                session.resume(UUID(int=number), at_ms=self.now_ms)
            case "pause":
                session.pause(UUID(int=number), at_ms=self.now_ms)
            case "observe":
                session.observe(UUID(int=number), at_ms=self.now_ms)
            case "crash":
                session.recover()
            case "speak" if not is_clocked:
                session.speak(number, at_ms=self.now_ms)
            case "extend" if can_go_on:
                more = session.extend(
                    quantity=number,
                    expires_at_ms=session.expires_at_ms + number,
                    request_id="",
                    at_ms=self.now_ms,
                )
                if more:
                    self._reserve(SESSION_ID, more)
        self.journal.save(session)

    def _reserve(self, session_id: UUID, amount: Microcredits) -> None:
        self.account.reserve(
            amount,
            session_id=session_id,
            service=self.service,
            unit_id=session_id,
            at_ms=self.now_ms,
        )
        self.journal.save(self.account)

    def _end(self) -> None:
        charged = self.session.close("ended", at_ms=self.now_ms)
        self.account.settle(
            session_id=SESSION_ID, service=self.service, charged=charged, at_ms=self.now_ms
        )
        self.journal.save(self.session, self.account)
        self.account.purchase(
            Microcredits(1), payment_id=UUID(int=8), rail="cash", at_ms=self.now_ms
        )
        self.journal.save(self.account)


def lies(tale: Tale) -> Iterator[bytes]:
    """Bills whose postings or class versions are wrong in one place, in a log that was signed so.

    Nothing but the rules of double entry stands against them.
    """
    logged = tale.journal.records
    for own in tale.records:
        state = own.fields
        told: list[dict[str, object]] = [
            {"class_version": v} for v in (0, 3, True, "2", None, 2**60)
        ]
        if "postings" in state:
            told.append({"class_version": 1})
            first, *rest = state["postings"]
            account, amount = first
            told += [
                {"postings": moved}
                for moved in (
                    *([], None, "", [first], [*rest, first], [first, *rest, [account, 0]]),
                    *([[account, amount - 1], *rest], [[account, float(amount)], *rest]),
                    *([[account.upper(), amount], *rest], [[account, amount, 0], *rest]),
                )
            ]
        for lie in told:
            if canonical({**state, **lie}) != own.state:
                yield _signed(tale, [retold(r, **lie) if r == own else r for r in logged])


def _signed(tale: Tale, logged: Sequence[Record]) -> bytes:
    """The bill that claims what the honest one does, over events told differently."""
    positions = {own.position for own in tale.records}
    records = [r for r in logged if r.position in positions]
    claimed = tale.document()["statement"]
    return json.dumps(document_of(logged, records, claimed=claimed)).encode()


def document_of(
    logged: Sequence[Record],
    records: Sequence[Record],
    *,
    key: SignerKey = SIGNER_KEY,
    signer: Ed25519Signer = SIGNER,
    claimed: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The bill over `records`, all of which stand in the log of `logged`.

    With `claimed`, that is the statement, whatever the events say.
    """
    tree = MerkleTree()
    for record in logged:
        tree.append(leaf_hash(record.leaf))
    head = Checkpoint(origin=key.name, size=tree.size, root=tree.root())
    return {
        "format": FORMAT,
        "statement": statement(records) if claimed is None else claimed,
        "evidence": evidence_of(
            tuple(records),
            checkpoint=head.signed(key, signer.sign),
            signer=key.text,
            proofs={r.position: tree.inclusion_proof(r.position - 1, tree.size) for r in records},
        ),
    }
