"""The statement of a period, over histories told in steps."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from uuid import UUID

import pytest

from domain.account import Account
from domain.focus import focus_csv, rows
from domain.money import NOTHING, Microcredits
from domain.payment import Payment
from domain.payout import Payout
from domain.period import Cuts, Period, parse_hour
from domain.price_list import PublishedPriceBook
from domain.pricing import DEFAULT_PRICE_BOOK, PriceBook, Tariff
from domain.record import Record, canonical
from domain.session import Order, Session
from domain.statement import Balance, Statement, StatementError, services, statement, totals
from domain.statement_document import MadeFrom, csv_text, document
from tests.contract.focus import problems
from tests.fakes.stored import Journal

# 2026-10-01T00:00:00Z.
OCTOBER_MS = 1_790_812_800_000
NOVEMBER_MS = OCTOBER_MS + 31 * 86_400_000
SOURCE = MadeFrom(
    origin="gateway.test",
    through_root=b"",
    events=0,
    root=b"",
    checkpoint=None,
    consistency=(),
)


class Tale:
    """One account's life, told event by event."""

    def __init__(self, book: PriceBook = DEFAULT_PRICE_BOOK) -> None:
        self.journal = Journal()
        self.book = book
        self.journal.save(PublishedPriceBook.publish(book, at_ms=OCTOBER_MS - 9))
        self.account = Account.open(chain="evm", wallet="0x" + "a" * 40, at_ms=OCTOBER_MS - 9)
        self._sessions = 0

    def buys(self, amount: int, *, at_ms: int) -> None:
        payment = Payment.claim(
            rail="x402",
            proof_key=str(at_ms),
            network="eip155:8453",
            chain="evm",
            payer=self.account.wallet,
            amount=Microcredits(amount),
            expires_at_ms=at_ms,
            payload="",
            at_ms=at_ms,
        )
        payment.credit(reference="0xfeed", account_id=self.account.id, at_ms=at_ms)
        self.account.purchase(Microcredits(amount), payment_id=payment.id, rail="x402", at_ms=at_ms)
        self.journal.save(payment, self.account)

    def opens(self, service: str = "stt", *, at_ms: int, quantity: int = 60_000) -> Session:
        self._sessions += 1
        order = Order(
            service=service,
            tariff=self.book.tariff(service),
            price_book=self.book.version,
            quantity=quantity,
            expires_at_ms=at_ms + 10**9,
        )
        session_id = UUID(int=self._sessions)
        self.account.reserve(
            order.price, session_id=session_id, service=service, unit_id=session_id, at_ms=at_ms
        )
        session = Session.open(
            order,
            session_id=session_id,
            account_id=self.account.id,
            bundle_id=None,
            request_hash="",
            at_ms=at_ms,
        )
        self.journal.save(self.account, session)
        return session

    def closes(self, session: Session, *, used_ms: int = 0, at_ms: int) -> None:
        if used_ms:
            session.resume(UUID(int=9), at_ms=at_ms - used_ms)
            session.pause(UUID(int=9), at_ms=at_ms)
        charged = session.close("ended", at_ms=at_ms)
        self.account.settle(
            session_id=session.id, service=session.service, charged=charged, at_ms=at_ms
        )
        self.journal.save(session, self.account)

    def corrects(self, *, removed: int, position: int, at_ms: int) -> None:
        self.account.correct(
            correction_id=UUID(int=at_ms),
            added=NOTHING,
            removed=Microcredits(removed),
            who="ops-1",
            why="=1+1",
            corrects_position=position,
            at_ms=at_ms,
        )
        self.journal.save(self.account)

    def withdraws(self, amount: int, *, fee: int = 0, at_ms: int) -> Payout:
        payout = Payout.request(
            payout_id=Payout.create_id(self.account.id, str(at_ms)),
            account_id=self.account.id,
            rail="x402",
            chain="evm",
            wallet=self.account.wallet,
            amount=Microcredits(amount),
            fee=Microcredits(fee),
            who="",
            why="",
            at_ms=at_ms,
        )
        self.account.withdraw(payout.amount, payout_id=payout.id, rail="x402", at_ms=at_ms)
        self.journal.save(self.account, payout)
        return payout

    def is_paid(self, payout: Payout, *, at_ms: int) -> None:
        self.account.pay_out(
            payout_id=payout.id, rail="x402", fee=payout.fee, reference="0xback", at_ms=at_ms
        )
        self.journal.save(self.account)

    def takes_back(self, payout: Payout, *, at_ms: int) -> None:
        self.account.take_back(payout_id=payout.id, rail="x402", at_ms=at_ms)
        self.journal.save(self.account)

    def between(self, from_ms: int = OCTOBER_MS, to_ms: int = NOVEMBER_MS) -> Statement:
        return told(self.journal.records, self.account.id, from_ms, to_ms)


def told(records: list[Record], account_id: UUID, from_ms: int, to_ms: int) -> Statement:
    account = [r for r in records if r.originator_id == account_id]
    others = [r for r in records if r.originator_id != account_id]
    return statement(account, others, cut(records, from_ms, to_ms))


def cut(records: list[Record], from_ms: int, to_ms: int) -> Period:
    cuts = Cuts((from_ms, to_ms))
    for record in records:
        cuts.see(record)
    return cuts.period()


@pytest.fixture
def tale() -> Tale:
    return Tale()


def test_a_purchase_names_its_rail_and_its_transfer(tale: Tale) -> None:
    tale.buys(5_000, at_ms=OCTOBER_MS)

    (line,) = tale.between().lines

    assert (line.kind, line.moved, line.facts["rail"]) == ("purchase", Balance(5_000), "x402")
    assert (line.facts["network"], line.facts["reference"]) == ("eip155:8453", "0xfeed")


def test_a_payout_is_told_when_it_is_taken_and_when_it_is_paid(tale: Tale) -> None:
    """B16: taken in October, on the chain in November."""
    tale.buys(5_000, at_ms=OCTOBER_MS)
    payout = tale.withdraws(4_000, fee=100, at_ms=NOVEMBER_MS - 1)
    open_end = tale.between()
    tale.is_paid(payout, at_ms=NOVEMBER_MS)

    october, november = tale.between(), tale.between(NOVEMBER_MS, NOVEMBER_MS + 3_600_000)

    assert october.lines == open_end.lines
    assert [(line.kind, line.moved.available) for line in october.lines[1:]] == [("payout", -4_000)]
    assert totals(october)["paid_out_microcredits"] == 4_000
    (paid,) = november.lines
    assert (paid.kind, paid.moved, paid.after) == ("payout_paid", Balance(), Balance(1_000))
    assert paid.facts == {
        "payout_id": str(payout.id),
        "rail": "x402",
        "reference": "0xback",
        "paid_microcredits": 3_900,
        "fee_microcredits": 100,
    }
    assert list(rows(october, provider="us"))[1:] == []


def test_a_payout_that_came_back_is_no_payout(tale: Tale) -> None:
    tale.buys(5_000, at_ms=OCTOBER_MS)
    tale.takes_back(tale.withdraws(4_000, at_ms=OCTOBER_MS + 1), at_ms=OCTOBER_MS + 2)

    made = tale.between()

    assert [line.kind for line in made.lines] == ["purchase", "payout", "payout_returned"]
    assert made.closing == Balance(5_000)
    assert totals(made)["paid_out_microcredits"] == 0
    assert [row["ChargeCategory"] for row in rows(made, provider="us")] == ["Purchase"]


@pytest.mark.parametrize("fee", [0, 100])
def test_a_payout_in_focus_is_a_purchase_the_other_way_round(tale: Tale, fee: int) -> None:
    tale.buys(5_000, at_ms=OCTOBER_MS)
    tale.is_paid(tale.withdraws(4_000, fee=fee, at_ms=OCTOBER_MS + 1), at_ms=OCTOBER_MS + 2)

    made = tale.between()

    billed = [Decimal(str(row["BilledCost"])) for row in rows(made, provider="us")]
    effective = [Decimal(str(row["EffectiveCost"])) for row in rows(made, provider="us")]
    assert problems(focus_csv(made, provider="gateway.test")) == []
    assert billed[:2] == [Decimal("0.005"), Decimal(fee - 4_000) / 10**6]
    assert sum(effective) == Decimal(fee) / 10**6
    assert len(billed) == (3 if fee else 2)


def test_a_session_open_at_the_end_of_a_period_is_told_as_usage_in_the_next(tale: Tale) -> None:
    tale.buys(50_000, at_ms=OCTOBER_MS)
    session = tale.opens(at_ms=NOVEMBER_MS - 1)
    tale.closes(session, used_ms=30_000, at_ms=NOVEMBER_MS + 30_000)

    october = tale.between()
    november = tale.between(NOVEMBER_MS, NOVEMBER_MS + 3_600_000)

    assert october.closing == november.opening == Balance(44_000, 6_000)
    assert october.usage == ()
    assert [(u.used, u.charged, u.refunded) for u in november.usage] == [(30_000, 3_000, 3_000)]


def test_an_event_that_was_so_before_the_cut_but_written_behind_it_is_the_next_periods(
    tale: Tale,
) -> None:
    tale.buys(1_000, at_ms=OCTOBER_MS)
    tale.buys(2_000, at_ms=NOVEMBER_MS)
    closed = tale.between()

    # A clock that went back, as after a crash.
    tale.buys(4_000, at_ms=NOVEMBER_MS - 5)

    assert tale.between() == closed
    assert closed.closing == Balance(1_000)
    later = tale.between(NOVEMBER_MS, NOVEMBER_MS + 3_600_000)
    assert [line.moved.available for line in later.lines] == [2_000, 4_000]


def test_a_period_is_closed_by_the_first_event_at_its_end_of_whomever(tale: Tale) -> None:
    tale.buys(1_000, at_ms=NOVEMBER_MS - 1)
    assert not tale.between().period.closed

    stranger = Account.open(chain="evm", wallet="0xb", at_ms=NOVEMBER_MS)
    tale.journal.save(stranger)

    assert tale.between().period.closed


def test_services_are_added_up(tale: Tale) -> None:
    tale.buys(50_000, at_ms=OCTOBER_MS)
    for used_ms in (10_000, 20_000):
        tale.closes(tale.opens(at_ms=OCTOBER_MS), used_ms=used_ms, at_ms=OCTOBER_MS + 60_000)
    tale.closes(tale.opens("webrtc", at_ms=OCTOBER_MS), at_ms=OCTOBER_MS + 60_000)

    made = tale.between()

    assert services(made.usage) == [
        {
            "service": "stt",
            "unit": "ms",
            "sessions": 2,
            "used": 30_000,
            "charged_microcredits": 3_000,
        },
        {
            "service": "webrtc",
            "unit": "ms",
            "sessions": 1,
            "used": 0,
            "charged_microcredits": 0,
        },
    ]
    assert totals(made)["reserved_microcredits"] == 13_000
    assert totals(made)["refunded_microcredits"] == 10_000


def test_a_bill_that_the_session_does_not_have_is_named(tale: Tale) -> None:
    tale.buys(50_000, at_ms=OCTOBER_MS)
    tale.closes(tale.opens(at_ms=OCTOBER_MS), used_ms=9_000, at_ms=OCTOBER_MS + 60_000)
    records = tale.journal.records
    (closed,) = [n for n, r in enumerate(records) if r.topic == "session.closed"]
    fields = records[closed].fields | {"used": 9_001}
    records[closed] = replace(records[closed], state=canonical(fields))

    with pytest.raises(StatementError, match=f"price of session {UUID(int=1)}: expected 901"):
        tale.between()


def test_an_event_of_an_account_that_is_missing_leaves_a_balance_below_zero(tale: Tale) -> None:
    tale.buys(6_000, at_ms=OCTOBER_MS)
    tale.opens(at_ms=OCTOBER_MS)
    records = [r for r in tale.journal.records if r.topic != "account.credits_purchased"]

    with pytest.raises(StatementError, match="expected none below zero"):
        told(records, tale.account.id, OCTOBER_MS, NOVEMBER_MS)


def test_a_correction_of_an_earlier_period_says_so_in_focus(tale: Tale) -> None:
    tale.buys(9_000, at_ms=OCTOBER_MS - 1)
    bought = tale.journal.records[-1].position
    tale.buys(9_000, at_ms=OCTOBER_MS)
    tale.corrects(removed=30, position=bought, at_ms=OCTOBER_MS + 1)
    tale.corrects(removed=40, position=bought + 3, at_ms=OCTOBER_MS + 2)

    found = list(rows(tale.between(), provider="gateway.test"))

    assert [(str(r["BilledCost"]), r.get("ChargeClass")) for r in found[1:]] == [
        ("0.00003", "Correction"),
        ("0.00004", None),
    ]


@pytest.mark.parametrize(
    ("unit", "per", "name"),
    [
        ("ms", 60_000, "Minutes"),
        ("ms", 120_000, "2 Minutes"),
        ("ms", 100_000, "100 Seconds"),
        ("ms", 1_000, "Seconds"),
        ("ms", 7, "7 Milliseconds"),
        ("character", 1_000, "1000 Characters"),
        ("character", 1, "Characters"),
    ],
)
def test_every_tariff_has_a_unit_and_exact_costs_in_focus(unit: str, per: int, name: str) -> None:
    service = "stt" if unit == "ms" else "tts"
    book = PriceBook(
        version="odd", tariffs=((service, Tariff(unit=unit, microcredits=833, per=per)),)
    )
    tale = Tale(book)
    tale.buys(10**9, at_ms=OCTOBER_MS)
    session = tale.opens(service, at_ms=OCTOBER_MS, quantity=50_000)
    if unit == "ms":
        tale.closes(session, used_ms=10_007, at_ms=OCTOBER_MS + 60_000)
    else:
        session.speak(10_007, at_ms=OCTOBER_MS)
        tale.closes(session, at_ms=OCTOBER_MS + 60_000)

    made = tale.between()
    usage = list(rows(made, provider="gateway.test"))[1]

    assert usage["PricingUnit"] == name
    list_cost, cost = Decimal(str(usage["ListCost"])), Decimal(str(usage["EffectiveCost"]))
    # The rounding up to a whole microcredit, and nothing else, lies between them.
    assert -Decimal("1e-15") < cost - list_cost < Decimal("0.000001")


def test_the_files_of_one_statement_agree(tale: Tale) -> None:
    tale.buys(50_000, at_ms=OCTOBER_MS)
    tale.closes(tale.opens(at_ms=OCTOBER_MS), used_ms=12_345, at_ms=OCTOBER_MS + 60_000)
    tale.corrects(removed=7, position=1, at_ms=OCTOBER_MS + 60_000)

    made = tale.between()

    assert problems(focus_csv(made, provider="gateway.test")) == []
    content = document(made, SOURCE)["statement"]
    assert content["closing"]["available_microcredits"] == made.closing.available
    assert csv_text(made, SOURCE).count("\r\n") == len(made.lines) + 3


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("1970-01-01", 0),
        ("2026-10-01", OCTOBER_MS),
        ("2026-10-01T05:00:00Z", OCTOBER_MS + 18 * 10**6),
    ],
)
def test_a_date_or_a_full_hour_is_a_bound(text: str, at_ms: int) -> None:
    assert parse_hour(text) == at_ms


@pytest.mark.parametrize(
    "text", ["", "2026", "2026-13-01", "2026-10-01T05:00:00", "2026-10-01T05:01:00Z", "1969-12-31"]
)
def test_anything_else_is_no_bound(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected a date|does not match"):
        parse_hour(text)
