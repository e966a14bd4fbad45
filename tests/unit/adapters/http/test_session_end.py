"""Ending a session over HTTP."""

from __future__ import annotations

from uuid import UUID

from domain.ledger import Work
from domain.session import Session
from tests.fakes.street import Street

STT = {"duration_minutes": 2, "language": "en"}


async def available(street: Street) -> int:
    return int((await street.get("/v1/account")).json["available_balance"])


async def session_in_ledger(street: Street, session_id: str) -> Session:
    def command(work: Work) -> Session:
        return work.session(UUID(session_id))

    return await street.house.books.run(command)


async def test_ending_an_unused_session_gives_everything_back(street: Street) -> None:
    await street.fund(1_000_000)
    session_id = (await street.post("/v1/stt/session", STT)).json["session_id"]

    answer = await street.post(f"/v1/sessions/{session_id}/end")

    assert answer.json == {
        "session_id": session_id,
        "service": "stt",
        "status": "settled",
        "reason": "ended",
        "unit": "ms",
        "used": 0,
        "reserved_microcredits": "12000",
        "charged_microcredits": "0",
        "refunded_microcredits": "12000",
        "settlement_method": "request",
        "ended_at": "2023-11-14T22:13:20.000Z",
    }
    assert await available(street) == 1_000_000


async def test_ending_twice_answers_the_same(street: Street) -> None:
    await street.fund()
    session_id = (await street.post("/v1/stt/session", STT)).json["session_id"]
    first = await street.post(f"/v1/sessions/{session_id}/end")
    await street.house.clock.advance(5_000)

    assert (await street.post(f"/v1/sessions/{session_id}/end")).json == first.json


async def test_a_foreign_session_is_not_ended(street: Street) -> None:
    await street.fund()
    await street.house.fund(street.bob.canonical, 5)
    session_id = (await street.post("/v1/stt/session", STT)).json["session_id"]

    answer = await street.post(f"/v1/sessions/{session_id}/end", wallet=street.bob)

    assert answer.status == 404
    assert (await session_in_ledger(street, session_id)).is_open
