"""Double entry as a fold over events: what moved from where to where, summing to zero.

Chart of accounts: `world:<rail>` money outside; `wallet:<account id>:available` and `:reserved`
credits inside; `revenue:<service>` what was earned; `adjustments` what was put right by hand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from domain.record import Record


@dataclass(frozen=True, slots=True)
class Posting:
    """`amount` µcr into an account of the chart; negative takes out."""

    account: str
    amount: int


def postings(record: Record) -> tuple[Posting, ...]:
    """The movements of one event; empty for events that move nothing."""
    if record.topic not in MONEY_TOPICS:
        return ()
    fields = record.fields
    available, reserved = wallet_accounts(record.originator_id)
    if record.topic == "account.credits_purchased":
        amount = fields["amount"]
        return (Posting(f"world:{fields['rail']}", -amount), Posting(available, amount))
    if record.topic == "account.credits_reserved":
        amount = fields["amount"]
        return (Posting(available, -amount), Posting(reserved, amount))
    if record.topic == "account.credits_corrected":
        amount = fields["added"] - fields["removed"]
        return (Posting("adjustments", -amount), Posting(available, amount))
    charged, refunded = fields["charged"], fields["refunded"]
    return (
        Posting(reserved, -charged - refunded),
        Posting(f"revenue:{fields['service']}", charged),
        Posting(available, refunded),
    )


MONEY_TOPICS = frozenset(
    {
        "account.credits_corrected",
        "account.credits_purchased",
        "account.credits_reserved",
        "account.reservation_settled",
    }
)


def wallet_accounts(account_id: UUID) -> tuple[str, str]:
    """The two accounts of one wallet in the chart."""
    return f"wallet:{account_id}:available", f"wallet:{account_id}:reserved"


@dataclass(slots=True)
class TrialBalance:
    """The sum of every account of the chart; their total is zero and no wallet is negative."""

    balances: Counter[str] = field(default_factory=Counter)
    position: int = 0

    def post(self, record: Record) -> tuple[Posting, ...]:
        """Fold one event in; return the postings that left an account wrong, if any did."""
        moved = postings(record)
        for posting in moved:
            self.balances[posting.account] += posting.amount
        self.position = record.position
        if sum(posting.amount for posting in moved) != 0:
            return moved
        return tuple(
            posting
            for posting in moved
            if posting.account.startswith("wallet:") and self.balances[posting.account] < 0
        )

    def post_all(self, records: Iterable[Record]) -> TrialBalance:
        for record in records:
            self.post(record)
        return self

    @property
    def total(self) -> int:
        return sum(self.balances.values())

    def by_kind(self) -> dict[str, int]:
        """The books in a few rows: rails, available, reserved, revenue by service."""
        rows: Counter[str] = Counter()
        for account, amount in self.balances.items():
            kind = account.rpartition(":")[2] if account.startswith("wallet:") else account
            rows[f"wallets:{kind}" if account.startswith("wallet:") else account] += amount
        return dict(sorted(rows.items()))
