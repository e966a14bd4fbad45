"""Double entry: what an event moves from where to where, summing to zero.

Chart of accounts (specs/ledger.md, section 8): `world:<rail>` money outside; `wallet:<account
id>:available` and `:reserved` credits inside; `revenue:<service>` what was earned; `adjustments`
what was put right by hand; `payouts:pending` credits on their way back to a chain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any, NamedTuple
from uuid import UUID

from domain.record import Record, canonical, id_text

ADJUSTMENTS = "adjustments"
PAYOUTS_PENDING = "payouts:pending"
PAYOUT_FEE = "revenue:payout_fee"
_FOUND_MAX = 300


class Posting(NamedTuple):
    """`amount` µcr into an account of the chart; negative takes out."""

    account: str
    amount: int


# What a call of the class does, without the call in between.
_pair = Posting._make


class Postings(tuple[Posting, ...]):
    """The movements of one event, in their one order; their sum is zero and none of them is."""

    __slots__ = ()

    @classmethod
    def read(cls, value: Iterable[Iterable[Any]]) -> Postings:
        """From the pairs an event holds; ValueError or TypeError for anything else."""
        if type(value) is cls:
            return value
        found = [_pair((account, amount)) for account, amount in value]
        for account, amount in found:
            if type(account) is not str or type(amount) is not int:
                raise ValueError(f"postings are pairs of an account and µcr (got {found!r:.80})")
        return cls(found)

    @property
    def spelled(self) -> str:
        """As canonical JSON has them: `[["world:x402",-5],["wallet:…:available",5]]`."""
        pairs = [f"[{encode_basestring(account)},{amount}]" for account, amount in self]
        return f"[{','.join(pairs)}]"


class PostingsError(ValueError):
    """An event's postings are not those that follow from its amounts."""

    def __init__(self, position: int, *, expected: str, found: str) -> None:
        super().__init__(f"postings at {position}: expected {expected}, found {found}")
        self.position = position
        self.expected = expected
        self.found = found[:_FOUND_MAX]


def wallet_accounts(account_id: UUID) -> tuple[str, str]:
    """The two accounts of one wallet in the chart: available, reserved."""
    return _wallet_accounts(account_id.int)


@lru_cache(maxsize=4096)
def _wallet_accounts(number: int) -> tuple[str, str]:
    # By number, since a UUID hashes and compares in Python.
    wallet = f"wallet:{id_text(UUID(int=number))}"
    return f"{wallet}:available", f"{wallet}:reserved"


def purchase_postings(account_id: UUID, *, rail: str, amount: int) -> Postings:
    """Money came in: the world's, then the wallet's."""
    if not amount:
        return NONE
    available, _ = _wallet_accounts(account_id.int)
    return Postings((Posting(f"world:{rail}", -amount), Posting(available, amount)))


def reserve_postings(account_id: UUID, *, amount: int) -> Postings:
    """Credit was set aside."""
    if not amount:
        return NONE
    available, reserved = _wallet_accounts(account_id.int)
    return Postings((Posting(available, -amount), Posting(reserved, amount)))


def settle_postings(account_id: UUID, *, service: str, charged: int, refunded: int) -> Postings:
    """A reservation ended: part of it was earned, the rest went back."""
    available, reserved = _wallet_accounts(account_id.int)
    moved = []
    if charged + refunded:
        moved.append(Posting(reserved, -charged - refunded))
    if charged:
        moved.append(Posting(f"revenue:{service}", charged))
    if refunded:
        moved.append(Posting(available, refunded))
    return Postings(moved)


def correct_postings(account_id: UUID, *, added: int, removed: int) -> Postings:
    """A mistake was put right."""
    amount = added - removed
    if not amount:
        return NONE
    available, _ = _wallet_accounts(account_id.int)
    return Postings((Posting(ADJUSTMENTS, -amount), Posting(available, amount)))


def withdraw_postings(account_id: UUID, *, amount: int) -> Postings:
    """Credit left the wallet, for its chain."""
    if not amount:
        return NONE
    available, _ = _wallet_accounts(account_id.int)
    return Postings((Posting(available, -amount), Posting(PAYOUTS_PENDING, amount)))


def payout_postings(*, rail: str, paid: int, fee: int) -> Postings:
    """Money went out, less what we keep for it."""
    moved = []
    if paid + fee:
        moved.append(Posting(PAYOUTS_PENDING, -paid - fee))
    if paid:
        moved.append(Posting(f"world:{rail}", paid))
    if fee:
        moved.append(Posting(PAYOUT_FEE, fee))
    return Postings(moved)


def return_postings(account_id: UUID, *, amount: int) -> Postings:
    """Credit that was to go out is the wallet's again."""
    if not amount:
        return NONE
    available, _ = _wallet_accounts(account_id.int)
    return Postings((Posting(PAYOUTS_PENDING, -amount), Posting(available, amount)))


NONE = Postings()
_FOLLOWING: Mapping[str, Callable[[UUID, Mapping[str, Any]], Postings]] = {
    "account.credits_corrected": lambda account_id, state: correct_postings(
        account_id, added=state["added"], removed=state["removed"]
    ),
    "account.credits_purchased": lambda account_id, state: purchase_postings(
        account_id, rail=state["rail"], amount=state["amount"]
    ),
    "account.credits_reserved": lambda account_id, state: reserve_postings(
        account_id, amount=state["amount"]
    ),
    "account.credits_withdrawn": lambda account_id, state: withdraw_postings(
        account_id, amount=state["amount"]
    ),
    "account.payout_paid": lambda _, state: payout_postings(
        rail=state["rail"], paid=state["paid"], fee=state["fee"]
    ),
    "account.payout_returned": lambda account_id, state: return_postings(
        account_id, amount=state["amount"]
    ),
    "account.reservation_settled": lambda account_id, state: settle_postings(
        account_id,
        service=state["service"],
        charged=state["charged"],
        refunded=state["refunded"],
    ),
}
MONEY_TOPICS = frozenset(_FOLLOWING)
# Their version 1 was written before events said their postings.
_ONCE_SILENT = frozenset(
    {
        "account.credits_corrected",
        "account.credits_purchased",
        "account.credits_reserved",
        "account.reservation_settled",
    }
)


def following(topic: str, account_id: UUID, state: Mapping[str, Any]) -> Postings:
    """The postings that follow from the amounts of an event; none for one that moves nothing."""
    follow = _FOLLOWING.get(topic)
    return NONE if follow is None else follow(account_id, state)


def postings(record: Record) -> Postings:
    """The movements of one event; `PostingsError` where they do not follow from its amounts.

    The oldest kinds do not say them in class version 1; theirs are those that follow.
    """
    if record.topic not in MONEY_TOPICS:
        return NONE
    state = record.fields
    expected = following(record.topic, record.originator_id, state)
    is_said = record.topic not in _ONCE_SILENT or state.get("class_version", 1) != 1
    if not (_are(state.get("postings"), expected) if is_said else "postings" not in state):
        raise PostingsError(
            record.position,
            expected=expected.spelled if is_said else "none",
            found=canonical(state["postings"]).decode() if "postings" in state else "none",
        )
    return expected


def _are(said: object, expected: Postings) -> bool:
    """Whether an event says just these; types too, since to Python 1, 1.0 and true are one."""
    return (
        isinstance(said, list)
        and len(said) == len(expected)
        and all(
            pair == list(posting) and type(pair[1]) is int
            for pair, posting in zip(said, expected, strict=True)
        )
    )


@dataclass(slots=True)
class TrialBalance:
    """The sum of every account of the chart; their total is zero, and no wallet is negative.

    Nor is what is on its way out of wallets.

    `position` is that of the last event folded in, `events` how many were.
    """

    balances: Counter[str] = field(default_factory=Counter)
    position: int = 0
    events: int = 0

    def post(self, record: Record) -> Postings:
        """Fold one event in; return the postings that left an account wrong, if any did.

        `PostingsError` where the event's postings are not its own.
        """
        moved = postings(record)
        for account, amount in moved:
            self.balances[account] += amount
        self.position = record.position
        self.events += 1
        return Postings(
            posting
            for posting in moved
            if _is_of_wallets(posting.account) and self.balances[posting.account] < 0
        )

    def post_all(self, records: Iterable[Record]) -> TrialBalance:
        for record in records:
            self.post(record)
        return self

    @property
    def total(self) -> int:
        return sum(self.balances.values())

    def by_account(self) -> dict[str, int]:
        """Every account of the chart that anything moved through, by name."""
        return dict(sorted(self.balances.items()))

    def by_kind(self) -> dict[str, int]:
        """The books in a few rows: rails, available, reserved, revenue by service."""
        rows: Counter[str] = Counter()
        for account, amount in self.balances.items():
            rows[kind_of(account)] += amount
        return dict(sorted(rows.items()))


def balance_at(
    records: Iterable[Record], *, position: int | None = None, at_ms: int | None = None
) -> TrialBalance:
    """The books over the events up to a position (record order), a time (value time), or both.

    At a time: all events with `at_ms` no later, wherever they stand, since an event may say of an
    earlier time what was so. `records` are in order of position.
    """
    books = TrialBalance()
    for record in records:
        if position is not None and record.position > position:
            break
        if at_ms is None or record.fields["at_ms"] <= at_ms:
            books.post(record)
    return books


def _is_of_wallets(account: str) -> bool:
    """Whether it holds credit that was some wallet's, so that there is none to hold below zero."""
    return account.startswith("wallet:") or account == PAYOUTS_PENDING


def kind_of(account: str) -> str:
    """The row of the books an account is part of: its own, or all wallets' together."""
    if not account.startswith("wallet:"):
        return account
    return f"wallets:{account.rpartition(':')[2]}"
