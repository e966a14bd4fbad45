"""B7: a room bills the union of a participant's joined intervals, however its webhooks come."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from domain.presence import RoomFact, is_finished, live_connections, stays
from domain.pricing import DEFAULT_PRICE_BOOK
from domain.session import Order, Session

OPENED_MS, UNTIL_MS = 1_000, 9_000
TIMES = st.integers(0, 12_000)
NAMES = st.sampled_from(["a", "b", "c"])
ROOMS = st.sampled_from(["r", "s"])


@st.composite
def facts_of(draw: st.DrawFn) -> RoomFact:
    kind = draw(st.sampled_from(["joined", "left", "finished"]))
    return RoomFact(
        kind=kind,  # type: ignore[arg-type]  # one of the three
        connection="" if kind == "finished" else draw(NAMES),
        room=draw(ROOMS),
        at_ms=draw(TIMES),
        since_ms=draw(TIMES) if kind == "left" else 0,
    )


FACTS = st.lists(facts_of(), max_size=12)


def union(facts: list[RoomFact]) -> tuple[tuple[int, int], ...]:
    found = stays(facts, opened_ms=OPENED_MS, until_ms=UNTIL_MS)
    return tuple((stay.from_ms, stay.to_ms) for stay in found)


def joined(connection: str, at_ms: int, room: str = "r") -> RoomFact:
    return RoomFact(kind="joined", connection=connection, room=room, at_ms=at_ms)


def left(connection: str, at_ms: int, since_ms: int = 0) -> RoomFact:
    return RoomFact(kind="left", connection=connection, room="r", at_ms=at_ms, since_ms=since_ms)


def finished(at_ms: int, room: str = "r") -> RoomFact:
    return RoomFact(kind="finished", connection="", room=room, at_ms=at_ms)


@given(FACTS, st.randoms(use_true_random=False))
def test_order_and_duplicates_do_not_matter(facts: list[RoomFact], random: object) -> None:
    again = facts + facts[: len(facts) // 2]
    random.shuffle(again)  # type: ignore[attr-defined]  # a Random

    assert union(again) == union(facts)
    assert live_connections(again) == live_connections(facts)
    assert is_finished(again) == is_finished(facts)


@given(FACTS)
def test_stays_are_disjoint_in_order_and_inside_the_session(facts: list[RoomFact]) -> None:
    edges = [edge for stay in union(facts) for edge in stay]

    assert edges == sorted(set(edges))
    assert all(OPENED_MS <= edge <= UNTIL_MS for edge in edges)


@given(FACTS, st.integers(1, 10_000))
def test_a_session_charges_the_union_and_never_more_than_its_reservation(
    facts: list[RoomFact], bought_ms: int
) -> None:
    tariff = DEFAULT_PRICE_BOOK.tariff("webrtc")
    order = Order(
        service="webrtc",
        tariff=tariff,
        price_book="2026-1",
        quantity=bought_ms,
        expires_at_ms=UNTIL_MS,
    )
    session = Session.open(
        order,
        session_id=UUID(int=1),
        account_id=UUID(int=2),
        bundle_id=None,
        request_hash="",
        at_ms=OPENED_MS,
    )
    found = stays(facts, opened_ms=OPENED_MS, until_ms=UNTIL_MS)

    session.attend(found)
    session.close("expired", at_ms=UNTIL_MS)

    there_ms = sum(stay.to_ms - stay.from_ms for stay in found)
    assert session.used == min(bought_ms, there_ms)
    assert session.charged == tariff.price(session.used)
    assert session.charged <= session.reserved


def test_overlaps_count_once() -> None:
    assert union([joined("a", 2_000), joined("b", 3_000), left("a", 4_000), left("b", 5_000)]) == (
        (2_000, 5_000),
    )


def test_leaving_of_the_old_connection_ends_only_the_old_one() -> None:
    assert union([joined("a", 2_000), joined("b", 3_000), left("a", 3_500)]) == ((2_000, UNTIL_MS),)


def test_time_between_connections_is_free() -> None:
    facts = [joined("a", 2_000), left("a", 3_000), joined("b", 4_000), left("b", 5_000)]

    assert union(facts) == ((2_000, 3_000), (4_000, 5_000))


def test_leaving_without_having_joined_counts_from_when_it_says_it_joined() -> None:
    assert union([left("a", 3_000, since_ms=2_000)]) == ((2_000, 3_000),)
    assert union([left("a", 3_000)]) == ()


def test_a_finished_room_ends_who_never_left_in_it_and_nobody_elsewhere() -> None:
    facts = [joined("a", 2_000), joined("b", 5_000, room="s"), finished(4_000)]

    assert union(facts) == ((2_000, 4_000), (5_000, UNTIL_MS))


def test_a_session_is_over_when_every_room_it_was_in_is() -> None:
    first, second = joined("a", 2_000), joined("b", 5_000, room="s")

    assert not is_finished([finished(4_000)])
    assert is_finished([first, finished(4_000)])
    assert not is_finished([first, second, finished(4_000)])
    assert is_finished([first, second, finished(4_000), finished(6_000, room="s")])


def test_who_was_never_seen_to_leave_stays_until_the_end() -> None:
    assert union([joined("a", 8_000)]) == ((8_000, UNTIL_MS),)
    assert union([joined("a", 12_000)]) == ()
