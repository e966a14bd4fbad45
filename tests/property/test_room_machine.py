"""B7: webhooks come in any order, twice or never, processes die between any two steps.

Whatever happens, a room is settled once, for the union of what was known then.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from adapters.sfu.webhook import Posted
from domain.ledger import Work
from domain.ports.books import Books
from domain.ports.room_events import RoomLog, Sighting
from domain.presence import RoomFact
from domain.session import Session
from domain.use_cases.close_session import end_session
from domain.use_cases.publish_prices import publish_prices
from domain.use_cases.reconcile import settle_due_sessions
from domain.use_cases.roll_call import call_the_roll
from domain.use_cases.room_events import look_after_guests
from domain.use_cases.room_reading import read_deliveries
from tests.fakes.room_server import MINUTE_MS, NODE, OTHER_NODE, Door, node_token

T = TypeVar("T")
SIDS = ("PA_1", "PA_2", "PA_3")
IDLE_MS = 2 * MINUTE_MS


class CrashError(Exception):
    """The process died here."""


@dataclass
class Fuse:
    """The process dies before or after its so many-eth step towards a store; 0: it lives."""

    left: int = 0

    def burn(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise CrashError


class FusedLog:
    """A `RoomLog` that a process may die at; `last_known` is what it was last told of a session."""

    def __init__(self, log: RoomLog, fuse: Fuse) -> None:
        self._log = log
        self._fuse = fuse
        self.last_known: tuple[RoomFact, ...] = ()

    async def sightings(self, session_id: UUID) -> tuple[Sighting, ...]:
        self._fuse.burn()
        found = await self._log.sightings(session_id)
        self.last_known = tuple(sighting.fact for sighting in found)
        return found

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        async def call(*args: Any, **more: Any) -> Any:  # noqa: ANN401 (whatever is called)
            self._fuse.burn()
            answer = await getattr(self._log, name)(*args, **more)
            self._fuse.burn()
            return answer

        return call


class FusedBooks:
    """`Books` that a process may die at; `settled_for` are the facts that the session closed on."""

    def __init__(self, books: Books, log: FusedLog, fuse: Fuse) -> None:
        self._books = books
        self._log = log
        self._fuse = fuse
        self.settled_for: tuple[RoomFact, ...] | None = None

    @property
    def position(self) -> int:
        return self._books.position

    async def run(self, command: Callable[[Work], T]) -> T:
        self._fuse.burn()
        answer = await self._books.run(command)
        if isinstance(answer, Session) and answer.is_over and self.settled_for is None:
            self.settled_for = self._log.last_known
        self._fuse.burn()
        return answer


class Story:
    """One room for sale, its node's truth, and what of it is still on its way to us."""

    def __init__(self) -> None:
        self.door = Door()
        self.fuse = Fuse()
        house = self.door.house
        self.log = FusedLog(self.door.log, self.fuse)
        self.books = FusedBooks(house.gateway.books, self.log, self.fuse)
        self.plain = house.gateway
        self.gateway = replace(house.gateway, room_log=self.log, books=self.books)  # type: ignore[arg-type]  # forwards what it does not name
        self.inside: dict[str, int] = {}
        self.under_way: list[tuple[bytes, SigningKey]] = []

    async def open(self, minutes: int) -> None:
        await publish_prices(self.plain)
        self.door.account_id = await self.door.house.fund("0x" + "a" * 40, 1_000_000)
        self.session_id = await self.door.sell(minutes=minutes)

    @property
    def now_ms(self) -> int:
        return self.door.now_ms

    def happens(self, event: str, sid: str, *, elsewhere: bool) -> tuple[bytes, SigningKey]:
        """On a node; the webhook that it sends."""
        key = ("other " if elsewhere else "") + sid
        if event == "participant_joined":
            self.inside.setdefault(key, self.now_ms)
        elif event == "participant_left":
            self.inside.pop(key, None)
        else:
            self.inside = {
                k: v for k, v in self.inside.items() if k.startswith("other ") != elsewhere
            }
        body = json.dumps(self.door.event(event, sid)).encode()
        return body, OTHER_NODE if elsewhere else NODE

    async def deliver(self, body: bytes, signer: SigningKey) -> None:
        posted = Posted(
            authorization=node_token(body, now_ms=self.now_ms, signer=signer),
            address=self.door.addresses.address(str(self.session_id)),
            body=body,
            received_at_ms=self.now_ms,
        )
        delivery = await self.door.webhooks.believed(posted)
        assert delivery is not None
        await self.door.log.add(delivery)

    async def alive(self, act: Callable[[], Coroutine[Any, Any, object]], dies_at: int) -> None:
        """Do it in a process that may die; the next one finds what is in the stores."""
        self.fuse.left = dies_at
        try:
            await act()
        except* CrashError:
            pass
        self.fuse.left = 0

    async def read(self) -> None:
        await read_deliveries(self.gateway)

    async def look(self) -> None:
        self._seat()
        await look_after_guests(self.gateway, self.door.bouncer, idle_ms=IDLE_MS)

    async def roll(self) -> None:
        self._seat()
        await call_the_roll(self.gateway, self.door.bouncer)

    async def end(self) -> None:
        await end_session(self.gateway, self.door.account_id, self.session_id)

    async def expire(self) -> None:
        await settle_due_sessions(self.gateway)

    async def session(self) -> Session:
        return await self.door.session(self.session_id)

    def _seat(self) -> None:
        self.door.bouncer.inside.clear()
        for key, since_ms in self.inside.items():
            signer = OTHER_NODE if key.startswith("other ") else NODE
            self.door.bouncer.seat(key.rpartition(" ")[2], signer=signer, joined_ms=since_ms)


sids = st.sampled_from(SIDS)
nodes = st.sampled_from([False, False, True])
# What becomes of a webhook: told at once, told again, told later in any order, never told.
fates = st.sampled_from(["told", "told", "told", "again", "later", "lost"])
dies = st.one_of(st.just(0), st.integers(1, 14))
HAPPENS = (
    st.tuples(st.just("joins"), sids, nodes, fates),
    st.tuples(st.just("leaves"), sids, nodes, fates),
    st.tuples(st.just("over"), st.just(""), nodes, fates),
)
STEPS = st.one_of(
    st.tuples(st.just("waits"), st.integers(1, 90)),
    HAPPENS[0],
    *HAPPENS,
    st.tuples(st.just("arrives"), st.integers(0, 9)),
    st.tuples(st.just("read"), dies),
    st.tuples(st.just("look"), dies),
    st.tuples(st.just("roll"), dies),
    st.tuples(st.just("works"), st.integers(30, 200)),
    st.tuples(st.just("works"), st.integers(30, 200)),
    st.tuples(st.just("silence"), st.booleans()),
)
EVENTS = {"joins": "participant_joined", "leaves": "participant_left", "over": "room_finished"}


async def take(story: Story, step: tuple[Any, ...]) -> None:
    match step:
        case ("waits", seconds):
            await story.door.house.clock.advance(seconds * 1_000)
        case ("joins" | "leaves" | "over" as what, sid, elsewhere, fate):
            told = story.happens(EVENTS[what], sid, elsewhere=elsewhere)
            if fate in ("told", "again"):
                await story.deliver(*told)
            if fate in ("later", "again"):
                story.under_way.append(told)
        case ("arrives", index) if story.under_way:
            await story.deliver(*story.under_way.pop(index % len(story.under_way)))
        case ("works", seconds):
            await story.door.house.clock.advance(seconds * 1_000)
            for act in (story.read, story.look, story.roll):
                await act()
        case ("silence", down):
            story.door.bouncer.down = down
        case ("read" | "look" | "roll" as act, dies_at):
            await story.alive(getattr(story, act), dies_at)


def seconds_of(facts: Sequence[RoomFact], opened_ms: int, until_ms: int) -> int:
    """The union in the plainest way: every second that some connection was there."""
    there: set[int] = set()
    for name in {f.connection for f in facts if f.kind in ("joined", "left", "present")}:
        own = [f for f in facts if f.connection == name]
        rooms = {f.room for f in own if f.kind in ("joined", "left")}
        guesses = {f.room for f in own if f.kind == "present"}
        seen_ms = max((f.at_ms for f in own if f.kind == "present"), default=0)
        starts = [f.at_ms for f in own if f.kind == "joined"] or [
            f.since_ms or f.at_ms for f in own if f.kind in ("left", "present")
        ]
        ends = [f.at_ms for f in own if f.kind == "left"]
        for f in facts:
            if f.kind == "finished":
                guessed = not rooms and f.room == max(guesses) and f.at_ms >= seen_ms
                ends += [f.at_ms] if f.room == max(rooms, default="") or guessed else []
        known_ms = max(min(starts), seen_ms)
        missed = sorted({f.at_ms for f in own if f.kind == "absent" and f.at_ms > known_ms})
        ends += missed[:1] if len(missed) > 1 else []
        start, end = max(min(starts), opened_ms), min([until_ms, *ends])
        there.update(range(start // 1_000, max(start, end) // 1_000))
    return len(there)


async def lived(steps: Sequence[tuple[Any, ...]], minutes: int, *, ends: bool) -> None:
    story = Story()
    with closing(story.door.log):
        await story.open(minutes)
        for step in (("joins", SIDS[0], False, "told"), *steps):
            await take(story, step)
        if ends:
            await story.end()
        await story.read()
        sold = await story.session()
        await story.door.house.clock.advance(max(0, sold.expires_at_ms - story.now_ms))
        for act in (story.expire, story.look, story.look):
            await act()
        session = await story.session()
        records = await story.plain.books.history([story.session_id])

    topics = [record.topic for record in records]
    assert topics.count("session.closed") == 1
    assert session.closed_at_ms is not None
    assert story.books.settled_for is not None
    until_ms = min(session.closed_at_ms, session.expires_at_ms)
    there_ms = 1_000 * seconds_of(story.books.settled_for, session.opened_at_ms, until_ms)
    assert session.used == min(session.quantity, there_ms)
    assert session.charged == session.tariff.price(session.used)
    assert session.charged + session.refunded == session.reserved


@given(st.lists(STEPS, min_size=12, max_size=40), st.sampled_from([1, 20, 60]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_room_is_settled_once_for_the_union_whatever_is_lost_and_whoever_dies(
    steps: list[tuple[Any, ...]],
    minutes: int,
    ends: bool,  # noqa: FBT001 (hypothesis passes it by name)
) -> None:
    asyncio.run(lived(steps, minutes, ends=ends))


async def settled_after(
    happenings: Sequence[tuple[Any, ...]], order: Sequence[int], *, rolls: bool
) -> Session:
    """What is charged where everything happens first, and then is told in this order."""
    story = Story()
    with closing(story.door.log):
        await story.open(20)
        for step in happenings:
            await take(story, step)
        for index in order:
            await story.deliver(*story.under_way[index])
            if index % 3 == 0:
                await story.read()
        await story.read()
        if rolls:
            await story.roll()
        await story.end()
        return await story.session()


TIMELINES = st.lists(
    st.one_of(
        st.tuples(st.just("waits"), st.integers(1, 20)),
        st.tuples(st.sampled_from(["joins", "leaves"]), sids, nodes, st.just("later")),
    ),
    max_size=20,
)


@given(TIMELINES, st.data(), st.booleans())
@settings(max_examples=40, deadline=None)
def test_the_order_and_number_of_webhooks_do_not_matter(
    happenings: list[tuple[Any, ...]],
    data: st.DataObject,
    rolls: bool,  # noqa: FBT001 (hypothesis passes it by name)
) -> None:
    told = sum(step[0] != "waits" for step in happenings)
    plain = list(range(told))
    again = data.draw(st.permutations([*plain, *plain[: told // 2]]))

    one = asyncio.run(settled_after(happenings, plain, rolls=rolls))
    other = asyncio.run(settled_after(happenings, again, rolls=rolls))

    assert (one.used, one.charged) == (other.used, other.charged)
