"""B7: a room bills the union of a participant's joined intervals, however its webhooks come."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from domain.presence import RoomFact, empty_since_ms, is_finished, live_connections, stays
from domain.pricing import DEFAULT_PRICE_BOOK
from domain.session import Order, Session

OPENED_MS, UNTIL_MS = 1_000, 9_000
TIMES = st.integers(0, 12_000)
NAMES = st.sampled_from(["a", "b", "c"])
ROOMS = st.sampled_from(["r", "s"])


@st.composite
def facts_of(draw: st.DrawFn) -> RoomFact:
    kind = draw(st.sampled_from(["joined", "left", "finished", "present", "absent"]))
    return RoomFact(
        kind=kind,  # type: ignore[arg-type]  # one of the five
        connection="" if kind == "finished" else draw(NAMES),
        room=draw(ROOMS),
        at_ms=draw(TIMES),
        since_ms=draw(TIMES) if kind in ("left", "present") else 0,
    )


FACTS = st.lists(facts_of(), max_size=12)


def union(facts: list[RoomFact]) -> tuple[tuple[int, int], ...]:
    found = stays(facts, opened_ms=OPENED_MS, until_ms=UNTIL_MS)
    return tuple((stay.from_ms, stay.to_ms) for stay in found)


def joined(connection: str, at_ms: int, room: str = "r") -> RoomFact:
    return RoomFact(kind="joined", connection=connection, room=room, at_ms=at_ms)


def left(connection: str, at_ms: int, since_ms: int = 0) -> RoomFact:
    return RoomFact(kind="left", connection=connection, room="r", at_ms=at_ms, since_ms=since_ms)


def present(connection: str, at_ms: int, since_ms: int = 0) -> RoomFact:
    return RoomFact(kind="present", connection=connection, room="r", at_ms=at_ms, since_ms=since_ms)


def absent(connection: str, at_ms: int) -> RoomFact:
    return RoomFact(kind="absent", connection=connection, room="r", at_ms=at_ms)


def finished(at_ms: int, room: str = "r") -> RoomFact:
    return RoomFact(kind="finished", connection="", room=room, at_ms=at_ms)


@given(FACTS, st.randoms(use_true_random=False))
def test_order_and_duplicates_do_not_matter(facts: list[RoomFact], random: object) -> None:
    again = facts + facts[: len(facts) // 2]
    random.shuffle(again)  # type: ignore[attr-defined]  # a Random

    assert union(again) == union(facts)
    assert live_connections(again) == live_connections(facts)
    assert is_finished(again) == is_finished(facts)
    assert empty_since_ms(again) == empty_since_ms(facts)


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


def test_a_session_is_over_when_the_room_it_was_in_last_is() -> None:
    first, second = joined("a", 2_000), joined("b", 5_000, room="s")

    assert not is_finished([finished(4_000)])
    assert is_finished([first, finished(4_000)])
    assert not is_finished([first, second, finished(4_000)])
    assert is_finished([first, second, finished(4_000), finished(6_000, room="s")])


def test_a_session_is_over_though_the_end_of_an_earlier_room_was_lost() -> None:
    facts = [joined("a", 2_000), left("a", 3_000), joined("b", 5_000, room="s")]

    assert is_finished([*facts, finished(6_000, room="s")])


def test_a_session_is_not_over_where_somebody_may_come_back_to_the_last_room() -> None:
    moved = [joined("a", 2_000), finished(3_000), joined("b", 4_000, room="s")]

    assert not is_finished([*moved, replace(left("b", 5_000), room="s")])


def test_a_connection_that_was_missed_twice_ended_when_missed_first() -> None:
    facts = [joined("a", 2_000), absent("a", 3_000), absent("a", 4_000), absent("a", 5_000)]

    assert union(facts[:2]) == ((2_000, UNTIL_MS),)
    assert union(facts[:3]) == union(facts) == ((2_000, 3_000),)


def test_the_same_absence_told_twice_is_one() -> None:
    assert union([joined("a", 2_000), absent("a", 3_000), absent("a", 3_000)]) == (
        (2_000, UNTIL_MS),
    )


def test_who_is_seen_again_was_not_gone() -> None:
    facts = [joined("a", 2_000), absent("a", 3_000), absent("a", 4_000), present("a", 5_000)]

    assert union(facts) == ((2_000, UNTIL_MS),)
    assert union([*facts, absent("a", 6_000)]) == ((2_000, UNTIL_MS),)
    assert union([*facts, absent("a", 6_000), absent("a", 7_000)]) == ((2_000, 6_000),)


def test_who_was_told_to_have_left_before_left_then() -> None:
    facts = [joined("a", 2_000), absent("a", 4_000), absent("a", 5_000), left("a", 3_000)]

    assert union([*facts, present("a", 6_000)]) == union(facts) == ((2_000, 3_000),)


def test_an_absence_before_somebody_joined_says_nothing() -> None:
    facts = [absent("a", 1_500), absent("a", 1_600), joined("a", 2_000), absent("a", 3_000)]

    assert union(facts) == ((2_000, UNTIL_MS),)


def test_an_absence_alone_tells_of_nobody() -> None:
    facts = [absent("a", 2_000), absent("a", 3_000)]

    assert union(facts) == ()
    assert live_connections(facts) == frozenset()
    assert empty_since_ms(facts) is None


def test_who_is_seen_counts_from_when_the_server_says_and_never_before_a_webhook_does() -> None:
    assert union([present("a", 5_000, since_ms=3_000)]) == ((3_000, UNTIL_MS),)
    assert union([present("a", 5_000)]) == ((5_000, UNTIL_MS),)
    assert union([present("a", 5_000, since_ms=3_000), joined("a", 4_000)]) == ((4_000, UNTIL_MS),)


def test_a_room_that_is_over_ends_who_was_seen_in_it_before() -> None:
    seen = [joined("a", 2_000), left("a", 3_000), present("b", 5_000)]

    assert union([*seen, finished(6_000)]) == ((2_000, 3_000), (5_000, 6_000))
    assert is_finished([*seen, finished(6_000)])


def test_who_is_seen_after_their_room_was_over_is_in_another() -> None:
    seen = [joined("a", 2_000), present("b", 5_000, since_ms=4_500)]

    assert union([*seen, finished(4_000)]) == ((2_000, 4_000), (4_500, UNTIL_MS))
    assert not is_finished([*seen, finished(4_000)])
    assert not is_finished([*seen, finished(4_000), absent("b", 6_000), absent("b", 7_000)])


def test_a_room_is_empty_since_the_last_one_left() -> None:
    facts = [joined("a", 2_000), joined("b", 3_000), left("a", 4_000)]

    assert empty_since_ms([]) is None
    assert empty_since_ms(facts) is None
    assert empty_since_ms([*facts, left("b", 5_000)]) == 5_000


def test_who_was_never_seen_to_leave_stays_until_the_end() -> None:
    assert union([joined("a", 8_000)]) == ((8_000, UNTIL_MS),)
    assert union([joined("a", 12_000)]) == ()
