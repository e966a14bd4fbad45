"""Payouts in the statement of a period (B16)."""

from __future__ import annotations

from decimal import Decimal

import pytest

from domain.focus import focus_csv, rows
from domain.statement import Balance, totals
from domain.statement_document import csv_text
from tests.contract.focus import problems
from tests.fakes.account_tale import NOVEMBER_MS, OCTOBER_MS, SOURCE, Tale


@pytest.fixture
def tale() -> Tale:
    return Tale()


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


def test_statements_without_payouts_are_told_as_they_were_before_there_were_any(
    tale: Tale,
) -> None:
    tale.buys(5_000, at_ms=OCTOBER_MS)
    before = tale.between()
    tale.withdraws(4_000, at_ms=OCTOBER_MS + 1)
    after = tale.between()

    assert "paid_out_microcredits" not in totals(before)
    assert "payout_id" not in csv_text(before, SOURCE)
    assert "paid_out_microcredits" in totals(after)
    assert "payout_id" in csv_text(after, SOURCE)


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
