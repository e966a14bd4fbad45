from __future__ import annotations

import base64
import csv
import hashlib
import io
from typing import Any
from uuid import UUID

import pytest

from domain.merkle import verify_consistency
from domain.record import canonical
from domain.use_cases import read_statement as use_case
from domain.use_cases.correct_credits import Correction, correct_credits
from tests.contract.focus import problems, read
from tests.fakes.street import Street

DAY_MS = 86_400_000
# The fakes' clock begins at 2023-11-14T22:13:20Z.
PERIOD = "from=2023-11-14&to=2023-11-15"
NEXT = "from=2023-11-15&to=2023-11-16"


async def spent(street: Street) -> str:
    """A minute bought and used for ten seconds."""
    ticket = (await street.post("/v1/stt/session", {"duration_minutes": 1})).json
    session_id = UUID(ticket["session_id"])
    clock, books = street.house.clock, street.house.books

    async def running(verb: str) -> None:
        at_ms = clock.now_ms()
        await books.run(
            lambda work: getattr(work.session(session_id), verb)(UUID(int=9), at_ms=at_ms)
        )

    await running("resume")
    await clock.advance(10_000)
    await running("pause")
    await street.post(f"/v1/sessions/{session_id}/end")
    return str(session_id)


async def corrected(street: Street, amount: int, why: str = "a slip") -> None:
    account_id = UUID((await street.get("/v1/account")).json["id"])
    correction = Correction(
        correction_id=UUID(int=street.house.books.position),
        account_id=account_id,
        amount=amount,
        who="ops-1",
        why=why,
        corrects_position=1,
    )
    await correct_credits(street.house.books, street.house.clock, correction)


async def statement(street: Street, period: str = PERIOD) -> dict[str, Any]:
    answer = await street.get(f"/v1/account/statement?{period}")
    assert answer.status == 200, answer.text
    found: dict[str, Any] = answer.json
    return found


async def test_a_statement_tells_everything_that_moved_credit(street: Street) -> None:
    await street.fund()
    session_id = await spent(street)
    await corrected(street, -400)

    content = (await statement(street))["statement"]

    assert content["opening"] == {"available_microcredits": 0, "reserved_microcredits": 0}
    assert [
        (line["kind"], line["available_microcredits"], line["reserved_microcredits"])
        for line in content["lines"]
    ] == [
        ("purchase", 1_000_000, 0),
        ("reserve", -6_000, 6_000),
        ("charge", 0, -1_000),
        ("refund", 5_000, -5_000),
        ("correction", -400, 0),
    ]
    assert content["closing"] == {"available_microcredits": 998_600, "reserved_microcredits": 0}
    assert (content["lines"][4]["who"], content["lines"][4]["why"]) == ("ops-1", "a slip")
    (used,) = content["usage"]
    assert (used["session_id"], used["used"], used["charged_microcredits"]) == (
        session_id,
        10_000,
        1_000,
    )
    assert used["tariff"]["price_book"] == street.house.gateway.price_book.version
    assert used["tariff"]["price_book_sha256"] == street.house.gateway.price_book.hash
    assert content["totals"]["charged_microcredits"] == 1_000
    assert content["services"] == [
        {
            "service": "stt",
            "unit": "ms",
            "sessions": 1,
            "used": 10_000,
            "charged_microcredits": 1_000,
        }
    ]


async def test_a_closed_period_is_told_the_same_for_ever(street: Street) -> None:
    await street.fund()
    await spent(street)
    open_yet = await statement(street)
    await street.house.clock.advance(DAY_MS)
    await spent(street)

    closed = await statement(street)
    await street.house.clock.advance(3 * DAY_MS)
    await spent(street)
    later = await statement(street)

    assert not open_yet["statement"]["period"]["closed"]
    assert closed["statement"]["period"]["closed"]
    assert later["statement"] == closed["statement"]
    assert later["statement_sha256"] == closed["statement_sha256"]
    assert later["log"] != closed["log"]


async def test_the_next_period_opens_with_what_this_one_closed_with(street: Street) -> None:
    await street.fund()
    await street.post("/v1/stt/session", {"duration_minutes": 2})
    await street.house.clock.advance(DAY_MS)
    await spent(street)

    first, second = await statement(street), await statement(street, NEXT)

    assert first["statement"]["closing"]["reserved_microcredits"] == 12_000
    assert second["statement"]["opening"] == first["statement"]["closing"]
    assert [line["kind"] for line in second["statement"]["lines"]] == [
        "reserve",
        "charge",
        "refund",
    ]


async def test_a_statement_names_the_log_that_it_follows_from(street: Street) -> None:
    await street.fund()
    await street.house.clock.advance(DAY_MS)
    await spent(street)

    made = await statement(street)

    period, log = made["statement"]["period"], made["log"]
    assert made["statement_sha256"] == hashlib.sha256(canonical(made["statement"])).hexdigest()
    assert log["events"] == street.house.gateway.log.size
    assert log["root"] in log["checkpoint"]
    assert verify_consistency(
        old_size=period["through_position"],
        new_size=log["events"],
        old_root=base64.b64decode(period["through_root"]),
        new_root=base64.b64decode(log["root"]),
        proof=[base64.b64decode(h) for h in log["consistency"]],
    )


async def test_a_period_before_everything_is_empty(street: Street) -> None:
    await street.fund()

    content = (await statement(street, "from=2023-01-01&to=2023-02-01"))["statement"]

    assert content["lines"] == []
    assert content["closing"] == content["opening"]
    assert content["period"]["through_position"] == 0


async def test_a_csv_statement_has_a_row_for_each_line_between_two_balances(
    street: Street,
) -> None:
    await street.fund()
    await spent(street)

    answer = await street.get(f"/v1/account/statement?{PERIOD}&format=csv")

    assert answer.headers["Content-Type"].startswith("text/csv")
    assert 'filename="statement-2023-11-14-2023-11-15.csv"' in answer.headers["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["kind"] for row in rows] == [
        "opening",
        "purchase",
        "reserve",
        "charge",
        "refund",
        "closing",
    ]
    assert (rows[3]["used"], rows[3]["usd"], rows[3]["unit"]) == ("10000", "-0.001", "ms")
    assert rows[-1]["available_after"] == "999000"


@pytest.mark.parametrize("why", ['=HYPERLINK("x")', "+1", "-1", "@SUM(A1)"])
async def test_a_reason_that_looks_like_a_formula_stays_text(street: Street, why: str) -> None:
    await street.fund()
    await corrected(street, 5, why)

    answer = await street.get(f"/v1/account/statement?{PERIOD}&format=csv")

    (row,) = [r for r in csv.DictReader(io.StringIO(answer.text)) if r["kind"] == "correction"]
    assert row["why"] == f"'{why}"


async def test_a_focus_statement_conforms_and_counts_no_cost_twice(street: Street) -> None:
    await street.fund()
    await spent(street)
    await corrected(street, 400)

    text = (await street.get(f"/v1/account/statement?{PERIOD}&format=focus")).text

    assert problems(text) == []
    assert [(r["ChargeCategory"], r["BilledCost"], r["EffectiveCost"]) for r in read(text)] == [
        ("Purchase", "1", "0"),
        ("Usage", "0", "0.001"),
        ("Credit", "-0.0004", "-0.0004"),
    ]


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ("", "from"),
        ("from=2023-11-14", "to"),
        ("from=14.11.2023&to=2023-11-15", "from"),
        ("from=2023-11-14T05:30:00Z&to=2023-11-15", "from"),
        ("from=2023-02-30&to=2023-11-15", "from"),
        ("from=0001-01-01&to=2023-11-15", "from"),
        ("from=2023-11-14&to=9999-12-31T01:00:00Z", "to"),
        ("from=2023-11-14&to=2023-11-14", "to"),
        ("from=2023-11-15&to=2023-11-14", "to"),
        ("from=2023-01-01&to=2024-01-03", "to"),
        (f"{PERIOD}&format=xml", "format"),
        (f"{PERIOD}&format=", "format"),
    ],
)
async def test_a_query_that_makes_no_sense_is_malformed(
    street: Street, query: str, where: str
) -> None:
    await street.fund()

    answer = await street.get(f"/v1/account/statement?{query}")

    assert (answer.status, answer.json["code"]) == (400, "malformed")
    assert answer.json["where"] == where


async def test_a_period_of_too_many_entries_is_refused(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(use_case, "LINES_MAX", 2)
    await street.fund()
    await spent(street)

    answer = await street.get(f"/v1/account/statement?{PERIOD}")

    assert answer.status == 400
    assert "at most 2 entries" in answer.json["error"]


async def test_a_wallet_that_never_paid_has_no_statement(street: Street) -> None:
    answer = await street.get(f"/v1/account/statement?{PERIOD}")

    assert (answer.status, answer.json["error"]) == (404, "Account not found")


async def test_nobody_reads_anothers_statement(street: Street) -> None:
    await street.fund()
    await street.house.fund(street.bob.canonical, 5)

    answer = await street.get(f"/v1/account/statement?{PERIOD}", wallet=street.bob)

    assert [line["available_microcredits"] for line in answer.json["statement"]["lines"]] == [5]
