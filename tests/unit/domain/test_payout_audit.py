"""Payouts in the books: who audits a ledger, and who audits an archive, find the same breaks."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from adapters.keys import check_signature
from adapters.store.audit import BrokenLedgerError, audit
from domain.account import Account
from domain.archive_audit import audit_archive
from domain.breaks import BrokenHistoryError
from domain.money import Microcredits
from domain.payout import Payout
from domain.postings import PAYOUTS_PENDING, Posting, TrialBalance, postings, wallet_accounts
from domain.record import Record
from tests.fakes.archive import MemoryArchive, heads_over
from tests.fakes.log import SIGNER_KEY
from tests.fakes.stored import Journal, retold

NOW_MS = 1_700_000_000_000
RAIL = "x402-base"


def tale() -> tuple[Record, ...]:
    """A wallet buys 1,000, takes 400 and 300 out; 390 are paid for 10, 300 come back."""
    journal = Journal()
    account = Account.open(chain="evm", wallet="0x" + "a" * 40, at_ms=NOW_MS)
    account.purchase(Microcredits(1_000), payment_id=account.id, rail=RAIL, at_ms=NOW_MS)
    journal.save(account)
    for name, amount in (("paid", 400), ("failed", 300)):
        payout = Payout.request(
            payout_id=Payout.create_id(account.id, name),
            account_id=account.id,
            rail=RAIL,
            chain="evm",
            wallet=account.wallet,
            amount=Microcredits(amount),
            fee=Microcredits(10),
            who="",
            why="",
            at_ms=NOW_MS,
        )
        account.withdraw(Microcredits(amount), payout_id=payout.id, rail=RAIL, at_ms=NOW_MS)
        journal.save(account, payout)
        payout.prepare(
            proof_key=name,
            network="eip155:8453",
            payer="0xb",
            expires_at_ms=NOW_MS,
            payload="{}",
            at_ms=NOW_MS,
        )
        if name == "paid":
            payout.pay("0xfeed", at_ms=NOW_MS)
            account.pay_out(
                payout_id=payout.id,
                rail=RAIL,
                fee=payout.fee,
                reference="0xfeed",
                at_ms=NOW_MS,
            )
        else:
            payout.fail("it expired", at_ms=NOW_MS)
            account.take_back(payout_id=payout.id, rail=RAIL, at_ms=NOW_MS)
        journal.save(payout, account)
    return tuple(journal.records)


RECORDS = tale()
ACCOUNT_ID = RECORDS[0].originator_id
AVAILABLE, _ = wallet_accounts(ACCOUNT_ID)
TAKEN, PAID, RETURNED = (
    next(i for i, r in enumerate(RECORDS) if r.topic == f"account.{what}")
    for what in ("credits_withdrawn", "payout_paid", "payout_returned")
)


def both(records: Sequence[Record]) -> tuple[dict[str, int], dict[str, int]]:
    """The books as an auditor of the ledger finds them, and one of an archive."""
    heads = heads_over(records, [len(records)])
    replayed = audit(
        records, checkpoints=heads, key=SIGNER_KEY, check=check_signature, progress=lambda _: None
    )
    verdict = audit_archive(
        MemoryArchive(leaves=[r.leaf for r in records], signed=heads),
        keys=[SIGNER_KEY],
        check=check_signature,
        known_heads=(),
        witnesses=(),
        progress=lambda _: None,
    )
    return replayed.books.by_kind(), verdict.history.by_kind()


def test_a_payout_moves_credit_out_through_what_is_pending() -> None:
    """B16."""
    assert postings(RECORDS[TAKEN]) == (Posting(AVAILABLE, -400), Posting(PAYOUTS_PENDING, 400))
    assert postings(RECORDS[PAID]) == (
        Posting(PAYOUTS_PENDING, -400),
        Posting(f"world:{RAIL}", 390),
        Posting("revenue:payout_fee", 10),
    )
    assert postings(RECORDS[RETURNED]) == (
        Posting(PAYOUTS_PENDING, -300),
        Posting(AVAILABLE, 300),
    )


def test_both_auditors_find_the_same_books() -> None:
    replayed, archived = both(RECORDS)

    assert replayed == {
        "payouts:pending": 0,
        "revenue:payout_fee": 10,
        "wallets:available": 600,
        f"world:{RAIL}": -610,
    }
    assert archived == {**replayed, "wallets:reserved": 0}


@pytest.mark.parametrize("amount", [0, 400])
def test_a_payout_of_nothing_moves_nothing(amount: int) -> None:
    records = [retold(r, amount=amount) if i == TAKEN else r for i, r in enumerate(RECORDS)]

    assert len(postings(records[TAKEN])) == (2 if amount else 0)


@pytest.mark.parametrize(
    ("at", "fields"),
    [
        (TAKEN, {"postings": []}),
        (TAKEN, {"postings": [[PAYOUTS_PENDING, 400], [AVAILABLE, -400]]}),
        (PAID, {"postings": [[PAYOUTS_PENDING, -400], [f"world:{RAIL}", 400]]}),
        (PAID, {"postings": [[PAYOUTS_PENDING, -400], ["world:gold", 390], ["adjustments", 10]]}),
        (RETURNED, {"postings": [[PAYOUTS_PENDING, -300], [AVAILABLE, 299], ["adjustments", 1]]}),
        (PAID, {"paid": 4_000}),
        (RETURNED, {"amount": 301}),
        (TAKEN, {"amount": 1_001}),
    ],
)
def test_both_auditors_find_what_does_not_follow(at: int, fields: dict[str, object]) -> None:
    records = [retold(r, **fields) if i == at else r for i, r in enumerate(RECORDS)]
    heads = heads_over(records, [len(records)])

    with pytest.raises(BrokenLedgerError):
        audit(
            records,
            checkpoints=heads,
            key=SIGNER_KEY,
            check=check_signature,
            progress=lambda _: None,
        )
    with pytest.raises(BrokenHistoryError):
        audit_archive(
            MemoryArchive(leaves=[r.leaf for r in records], signed=heads),
            keys=[SIGNER_KEY],
            check=check_signature,
            known_heads=(),
            witnesses=(),
            progress=lambda _: None,
        )


def test_more_paid_out_than_was_taken_is_named() -> None:
    books = TrialBalance().post_all(RECORDS[:PAID])

    assert books.post(retold(RECORDS[PAID], paid=4_000)) == (Posting(PAYOUTS_PENDING, -4_010),)


def test_a_payout_that_nobody_asked_for_does_not_replay() -> None:
    records = [*RECORDS[: PAID + 1]]
    again = retold(RECORDS[PAID], fee=0, paid=0)
    forged = Record(
        position=PAID + 2,
        originator_id=ACCOUNT_ID,
        originator_version=RECORDS[PAID].originator_version + 1,
        topic=again.topic,
        state=again.state,
    )

    with pytest.raises(BrokenLedgerError, match=r"a valid account\.payout_paid"):
        audit(
            [*records, forged],
            checkpoints=(),
            key=None,
            check=check_signature,
            progress=lambda _: None,
        )
