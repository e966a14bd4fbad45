"""The statement of a period, over histories told in steps."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from uuid import UUID

import pytest

from domain.account import Account
from domain.focus import focus_csv, rows
from domain.period import parse_hour
from domain.pricing import PriceBook, Tariff
from domain.record import canonical
from domain.statement import Balance, StatementError, services, totals
from domain.statement_document import csv_text, document
from tests.contract.focus import problems
from tests.fakes.account_tale import NOVEMBER_MS, OCTOBER_MS, SOURCE, Tale, told


@pytest.fixture
def tale() -> Tale:
    return Tale()


def test_a_purchase_names_its_rail_and_its_transfer(tale: Tale) -> None:
    tale.buys(5_000, at_ms=OCTOBER_MS)

    (line,) = tale.between().lines

    assert (line.kind, line.moved, line.facts["rail"]) == ("purchase", Balance(5_000), "x402")
    assert (line.facts["network"], line.facts["reference"]) == ("eip155:8453", "0xfeed")


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
