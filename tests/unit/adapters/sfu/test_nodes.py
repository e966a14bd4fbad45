from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from random import Random

import pytest
from aiohttp import web

from adapters.sfu.nodes import (
    ANSWER_BYTES_MAX,
    BACK_OFF_MS,
    FRESH_MS,
    STALE_MS_MAX,
    NearestNodes,
    Node,
    OneNode,
    Patience,
    StaticNodes,
    neighbourhood,
)
from adapters.sfu.outbound import Outbound
from domain.errors import NoCapacityError
from tests.fakes.clock import ManualClock
from tests.fakes.solana import Answer, serving, text_of

SOMEBODY, NEIGHBOUR, ELSEWHERE = "93.184.216.34", "93.184.216.99", "93.184.217.34"
# Nodes on loopback answer at once or never.
PATIENCE = Patience(answer_ms=150, total_ms=220, stagger_ms=50)


class FakeNode:
    """Answers `/relevants`; `answer` is what it does, `asked` the addresses it was asked about."""

    def __init__(self, number: int) -> None:
        self.key = bytes([number] * 32)
        self.host = ""
        self.asked: list[str] = []
        self.answer: Answer = names()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((await request.json())["ip"])
        return await self.answer(request)

    def node(self, *, active: bool = True) -> Node:
        return Node(key=self.key, ws_url=f"ws://{self.host}", active=active)


def names(*domains: object) -> Answer:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.json_response([{"domain": domain} for domain in domains])

    return answer


def says(body: bytes, status: int = 200) -> Answer:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, status=status, content_type="application/json")

    return answer


async def silent(_request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def moved(_request: web.Request) -> web.StreamResponse:
    raise web.HTTPTemporaryRedirect("/relevants")


class Town:
    """Three nodes on loopback, and who chooses among them."""

    def __init__(self, nodes: list[FakeNode]) -> None:
        self.nodes = nodes
        self.clock = ManualClock()
        self.outbound = Outbound(private_ok=True)
        self.listed = [node.node() for node in nodes]

    @property
    def asked(self) -> list[str]:
        return [ip for node in self.nodes for ip in node.asked]

    def all_answer(self, answer: Answer) -> None:
        for node in self.nodes:
            node.answer = answer

    def url(self, index: int) -> str:
        return self.listed[index].ws_url

    def choice(self, *listed: Node) -> NearestNodes:
        known = StaticNodes(listed or self.listed)
        random = Random(1)  # noqa: S311 (a test repeats itself)
        return NearestNodes(
            known, self.outbound, clock=self.clock, random=random, patience=PATIENCE
        )


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    nodes = [FakeNode(number) for number in (1, 2, 3)]
    async with AsyncExitStack() as stack:
        for node in nodes:
            node.host = await stack.enter_async_context(serving(node.handle, "/relevants"))
        town = Town(nodes)
        stack.push_async_callback(town.outbound.aclose)
        yield town


async def test_a_participant_goes_where_a_node_says(town: Town) -> None:
    town.all_answer(names(town.nodes[2].host, town.nodes[0].host))

    assert await town.choice().ws_url(SOMEBODY) == town.url(2)
    assert set(town.asked) == {SOMEBODY}


async def test_a_host_that_is_not_in_our_list_is_passed_over(town: Town) -> None:
    evil = ("evil.test/path?x=", "evil.test", 7, None, town.nodes[1].host)
    town.all_answer(names(*evil))

    assert await town.choice().ws_url(SOMEBODY) == town.url(1)


@pytest.mark.parametrize(
    "answer",
    [
        names(),
        names("evil.test"),
        says(b"{}"),
        says(b'{"domain":"x"}'),
        says(b"null"),
        says(b"[null, 1, [], {}]"),
        says(b"<html>"),
        says(b"[" * 100_000),
        says(b""),
        says(b"[]", status=500),
        says(b" " * ANSWER_BYTES_MAX + b"[]"),
        silent,
        moved,
    ],
)
async def test_where_no_answer_can_be_used_any_node_serves(town: Town, answer: Answer) -> None:
    town.all_answer(answer)

    assert await town.choice().ws_url(SOMEBODY) in {node.ws_url for node in town.listed}


async def test_an_odd_answer_is_made_up_for_by_the_next_node(town: Town) -> None:
    choice = town.choice()
    town.all_answer(silent)
    town.nodes[0].answer = names(town.nodes[1].host)

    assert await choice.ws_url(SOMEBODY) == town.url(1)


async def test_a_redirect_is_not_followed(town: Town) -> None:
    town.all_answer(moved)

    await town.choice().ws_url(SOMEBODY)

    assert len(town.asked) == 3


async def test_a_neighbourhood_is_asked_about_once_in_five_minutes(town: Town) -> None:
    town.all_answer(names(town.nodes[2].host))
    choice = town.choice()
    await choice.ws_url(SOMEBODY)
    await town.clock.advance(FRESH_MS - 1)
    await choice.ws_url(NEIGHBOUR)
    asked = len(town.asked)

    await town.clock.advance(1)
    await choice.ws_url(NEIGHBOUR)

    assert (asked, len(town.asked)) == (1, 2)


async def test_another_neighbourhood_is_asked_about_itself(town: Town) -> None:
    town.all_answer(names(town.nodes[2].host))
    choice = town.choice()
    await choice.ws_url(SOMEBODY)

    await choice.ws_url(ELSEWHERE)

    assert town.asked.count(ELSEWHERE) == 1


async def test_an_old_answer_serves_for_an_hour_where_nodes_are_silent(town: Town) -> None:
    town.all_answer(names(town.nodes[2].host))
    choice = town.choice()
    await choice.ws_url(SOMEBODY)
    town.all_answer(says(b"", status=500))

    await town.clock.advance(STALE_MS_MAX - 1)

    assert {await choice.ws_url(SOMEBODY) for _ in range(10)} == {town.url(2)}


async def test_after_an_hour_it_serves_no_more(town: Town) -> None:
    town.all_answer(names(town.nodes[2].host))
    choice = town.choice()
    await choice.ws_url(SOMEBODY)
    town.all_answer(says(b"", status=500))

    await town.clock.advance(STALE_MS_MAX)

    assert len({await choice.ws_url(SOMEBODY) for _ in range(20)}) > 1


async def test_a_node_that_failed_is_left_alone_for_a_minute(town: Town) -> None:
    town.all_answer(says(b"", status=500))
    choice = town.choice()
    await choice.ws_url(SOMEBODY)
    await town.clock.advance(BACK_OFF_MS - 1)
    await choice.ws_url(SOMEBODY)
    asked = len(town.asked)

    await town.clock.advance(1)
    await choice.ws_url(SOMEBODY)

    assert (asked, len(town.asked)) == (3, 6)


class ChangingList:
    """A `NodeList` that forgets nodes."""

    def __init__(self, listed: list[Node]) -> None:
        self.listed = listed

    def nodes(self) -> list[Node]:
        return self.listed


async def test_nobody_is_sent_to_a_node_that_left_the_list(town: Town) -> None:
    town.all_answer(names(town.nodes[2].host))
    known = ChangingList(town.listed)
    choice = NearestNodes(
        known,
        town.outbound,
        clock=town.clock,
        random=Random(1),  # noqa: S311 (a test repeats itself)
        patience=PATIENCE,
    )
    await choice.ws_url(SOMEBODY)

    known.listed = town.listed[:2]

    assert await choice.ws_url(SOMEBODY) in {town.url(0), town.url(1)}


async def test_the_neighbourhood_longest_known_is_forgotten_first(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.sfu.nodes.PLACES_MAX", 1)
    town.all_answer(names(town.nodes[2].host))
    choice = town.choice()

    for ip in (SOMEBODY, ELSEWHERE, ELSEWHERE, SOMEBODY):
        await choice.ws_url(ip)

    assert town.asked.count(ELSEWHERE) == 1
    assert town.asked.count(SOMEBODY) == 2


async def test_only_so_many_ask_at_a_time(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.sfu.nodes.ASKING_MAX", 1)
    town.all_answer(silent)
    choice = town.choice()

    await asyncio.gather(choice.ws_url(SOMEBODY), choice.ws_url(ELSEWHERE))

    assert len(set(town.asked)) == 1


@pytest.mark.parametrize(
    "ip", ["", "not an address", "127.0.0.1", "10.1.2.3", "::1", "fe80::1%eth0", "203.0.113.9"]
)
async def test_an_address_without_a_place_goes_to_any_node_and_nobody_is_asked(
    town: Town, ip: str
) -> None:
    assert await town.choice().ws_url(ip) in {node.ws_url for node in town.listed}
    assert town.asked == []


async def test_a_node_that_is_not_active_gets_nobody(town: Town) -> None:
    resting = [node.node(active=False) for node in town.nodes[:2]]
    choice = town.choice(*resting, town.nodes[2].node())

    assert {await choice.ws_url("") for _ in range(20)} == {town.url(2)}


async def test_where_none_is_active_all_are(town: Town) -> None:
    choice = town.choice(*(node.node(active=False) for node in town.nodes))

    assert len({await choice.ws_url("") for _ in range(30)}) == 3


async def test_a_node_without_a_url_gets_nobody(town: Town) -> None:
    choice = town.choice(Node(key=bytes(32), ws_url="", active=True), town.nodes[2].node())

    assert {await choice.ws_url("") for _ in range(20)} == {town.url(2)}


async def test_without_nodes_there_is_no_room(town: Town) -> None:
    choice = town.choice(Node(key=bytes(32), ws_url=""))

    with pytest.raises(NoCapacityError, match="WEBRTC"):
        await choice.ws_url(SOMEBODY)


async def test_one_server_takes_everybody() -> None:
    assert await OneNode("wss://only.test").ws_url("whatever") == "wss://only.test"


async def test_no_server_takes_nobody() -> None:
    with pytest.raises(NoCapacityError):
        await OneNode("").ws_url("")


async def test_a_static_list_knows_its_keys() -> None:
    key, other = bytes([5] * 32), bytes([6] * 32)
    nodes = StaticNodes([Node.parse(f"wss://n.test={text_of(key)}")])

    assert await nodes.key_of(text_of(key)) == key
    assert await nodes.key_of(text_of(other)) is None


@pytest.mark.parametrize(
    "text", ["", "wss://n.test", "wss://n.test=0", "https://n.test={key}", "wss://n.test/x={key}"]
)
def test_a_node_is_written_as_a_url_and_a_key(text: str) -> None:
    with pytest.raises(ValueError, match="base58"):
        Node.parse(text.format(key=text_of(bytes([5] * 32))))


@pytest.mark.parametrize(
    ("ip", "place"),
    [
        (SOMEBODY, "93.184.216.0/24"),
        ("::ffff:93.184.216.34", "93.184.216.0/24"),
        ("2606:2800:220:1:248:1893:25c8:1946", "2606:2800:220::/48"),
    ],
)
def test_a_neighbourhood_is_a_small_network(ip: str, place: str) -> None:
    assert neighbourhood(ip) == place
