from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random

import pytest
from aiohttp import web

from adapters.sfu.nodes import Node
from adapters.sfu.outbound import Outbound
from adapters.sfu.registry import LOOKUP_SPACING_MS, REFRESH_MS, STRANGER_MS, Place, Registry
from tests.fakes.clock import ManualClock
from tests.fakes.solana import (
    AUTHORITY,
    OTHER_REGISTRY,
    PROGRAM,
    Answer,
    SolanaRpc,
    client_entry,
    node_entry,
    serving,
    text_of,
)

ONE, TWO, STRANGER = bytes([11] * 32), bytes([12] * 32), bytes([13] * 32)


@pytest.fixture
def rpc() -> SolanaRpc:
    rpc = SolanaRpc()
    rpc.put(ONE, node_entry(ONE, "one.test"))
    rpc.put(TWO, node_entry(TWO, "two.test:8443", active=False))
    return rpc


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def registry(rpc: SolanaRpc, clock: ManualClock) -> AsyncIterator[Registry]:
    outbound = Outbound(private_ok=True)
    async with serving(rpc.handle) as host:
        place = Place(
            rpc_url=f"http://{host}/",
            program=text_of(PROGRAM),
            authority=text_of(AUTHORITY),
            name="test-nodes",
        )
        yield Registry(place, outbound, clock=clock, random=Random(1))  # noqa: S311 (a test repeats itself)
        await outbound.aclose()


async def test_the_list_holds_every_node_with_its_key_and_host(registry: Registry) -> None:
    assert await registry.refresh()

    assert set(registry.nodes()) == {
        Node(key=ONE, ws_url="wss://one.test", active=True),
        Node(key=TWO, ws_url="wss://two.test:8443", active=False),
    }


async def test_what_is_no_node_of_ours_is_left_out_even_where_the_server_lists_it(
    registry: Registry, rpc: SolanaRpc
) -> None:
    rpc.unfiltered = True
    rpc.put(STRANGER, client_entry(STRANGER))
    rpc.put(bytes([14] * 32), node_entry(bytes([14] * 32), "far.test", parent=OTHER_REGISTRY))

    await registry.refresh()

    assert {node.key for node in registry.nodes()} == {ONE, TWO}


@pytest.mark.parametrize(
    "domain",
    ["evil.test/path?x=", "a b", "user@evil.test", "127.0.0.1", "10.0.0.8:443", "-x.test", ""],
)
async def test_nobody_is_sent_to_a_domain_that_is_no_host(
    registry: Registry, rpc: SolanaRpc, domain: str
) -> None:
    rpc.put(STRANGER, node_entry(STRANGER, domain))

    await registry.refresh()

    (found,) = [node for node in registry.nodes() if node.key == STRANGER]
    assert (found.ws_url, found.active) == ("", False)


async def garbage(_request: web.Request) -> web.StreamResponse:
    return web.Response(body=b"\xff<html>", content_type="application/json")


async def refusal(_request: web.Request) -> web.StreamResponse:
    return web.json_response({"jsonrpc": "2.0", "id": 1, "error": {"code": -32005}})


async def failure(_request: web.Request) -> web.StreamResponse:
    return web.json_response({"jsonrpc": "2.0", "id": 1, "result": []}, status=500)


async def empty(_request: web.Request) -> web.StreamResponse:
    return web.json_response({"jsonrpc": "2.0", "id": 1, "result": []})


async def text(_request: web.Request) -> web.StreamResponse:
    return web.json_response({"jsonrpc": "2.0", "id": 1, "result": "none"})


async def odd_accounts(_request: web.Request) -> web.StreamResponse:
    owner = text_of(PROGRAM)
    odd: list[object] = [
        None,
        7,
        {},
        {"account": None},
        {"account": {"owner": owner}},
        {"account": {"owner": owner, "data": "text"}},
        {"account": {"owner": owner, "data": ["!!", "base64"]}},
        {"account": {"owner": owner, "data": ["AAAA", "base58"]}},
        {"account": {"owner": owner, "data": ["AAAA", "base64"]}},
    ]
    return web.json_response({"jsonrpc": "2.0", "id": 1, "result": odd})


async def nested(_request: web.Request) -> web.StreamResponse:
    return web.Response(body=b"[" * 200_000, content_type="application/json")


async def huge(_request: web.Request) -> web.StreamResponse:
    return web.Response(body=b'{"result":"' + b"A" * (9 << 20) + b'"}')


async def elsewhere(_request: web.Request) -> web.StreamResponse:
    raise web.HTTPTemporaryRedirect("/")


ODD: list[Answer] = [
    garbage,
    refusal,
    failure,
    empty,
    text,
    odd_accounts,
    nested,
    huge,
    elsewhere,
]


@pytest.mark.parametrize("answer", ODD)
async def test_the_last_list_serves_where_the_new_one_cannot_be_read(
    registry: Registry, rpc: SolanaRpc, answer: Answer
) -> None:
    await registry.refresh()
    rpc.answer = answer

    assert not await registry.refresh()

    assert {node.key for node in registry.nodes()} == {ONE, TWO}


async def test_an_account_that_the_program_does_not_own_is_no_node(
    registry: Registry, rpc: SolanaRpc
) -> None:
    rpc.owner = AUTHORITY

    assert not await registry.refresh()


async def test_the_list_is_read_again_every_few_minutes(
    registry: Registry, rpc: SolanaRpc, clock: ManualClock
) -> None:
    await registry.refresh()
    keeping = asyncio.create_task(registry.keep_fresh())
    await clock.advance(REFRESH_MS * 8 // 10 - 1)
    before = len(rpc.calls)
    rpc.news.clear()

    await clock.advance(REFRESH_MS)
    await rpc.news.wait()

    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    assert (before, rpc.calls[1:]) == (1, ["getProgramAccounts"])


async def test_a_listed_node_is_known_by_its_key_active_or_not(
    registry: Registry, rpc: SolanaRpc
) -> None:
    await registry.refresh()

    assert await registry.key_of(text_of(TWO)) == TWO
    assert rpc.calls == ["getProgramAccounts"]


async def test_a_node_that_came_since_is_looked_up_once(registry: Registry, rpc: SolanaRpc) -> None:
    await registry.refresh()
    rpc.put(STRANGER, node_entry(STRANGER, "new.test"))

    found = [await registry.key_of(text_of(STRANGER)) for _ in range(3)]

    assert found == [STRANGER] * 3
    assert rpc.calls[1:] == ["getAccountInfo"]


async def test_a_client_is_no_node_although_its_entry_lies_where_a_nodes_would(
    registry: Registry, rpc: SolanaRpc
) -> None:
    rpc.put(STRANGER, client_entry(STRANGER))

    assert await registry.key_of(text_of(STRANGER)) is None


async def test_an_entry_of_another_key_does_not_speak_for_this_one(
    registry: Registry, rpc: SolanaRpc
) -> None:
    rpc.put(STRANGER, node_entry(ONE, "one.test"))

    assert await registry.key_of(text_of(STRANGER)) is None


async def test_a_stranger_is_not_asked_about_again_for_a_minute(
    registry: Registry, rpc: SolanaRpc, clock: ManualClock
) -> None:
    await registry.key_of(text_of(STRANGER))
    await clock.advance(STRANGER_MS - 1)
    await registry.key_of(text_of(STRANGER))
    asked = len(rpc.calls)

    await clock.advance(1)
    await registry.key_of(text_of(STRANGER))

    assert (asked, len(rpc.calls)) == (1, 2)


async def test_random_issuers_do_not_make_us_ask_without_end(
    registry: Registry, rpc: SolanaRpc, clock: ManualClock
) -> None:
    await registry.key_of(text_of(bytes([20] * 32)))

    with pytest.raises(ConnectionError):
        await registry.key_of(text_of(bytes([21] * 32)))

    await clock.advance(LOOKUP_SPACING_MS)
    assert await registry.key_of(text_of(bytes([21] * 32))) is None
    assert len(rpc.calls) == 2


async def test_the_stranger_longest_known_is_forgotten_first(
    registry: Registry, rpc: SolanaRpc, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.sfu.registry.STRANGERS_MAX", 1)

    for number in (20, 21, 21, 20):
        await registry.key_of(text_of(bytes([number] * 32)))
        await clock.advance(LOOKUP_SPACING_MS)

    assert len(rpc.calls) == 3


async def test_a_name_that_is_no_key_is_nobody_and_costs_no_question(
    registry: Registry, rpc: SolanaRpc
) -> None:
    assert await registry.key_of("not base58!") is None
    assert rpc.calls == []


@pytest.mark.parametrize("answer", [garbage, refusal, failure, text, huge, elsewhere])
async def test_where_nobody_can_tell_a_key_is_neither_known_nor_a_stranger(
    registry: Registry, rpc: SolanaRpc, clock: ManualClock, answer: Answer
) -> None:
    rpc.answer = answer
    with pytest.raises(ConnectionError):
        await registry.key_of(text_of(ONE))

    rpc.answer = None
    await clock.advance(LOOKUP_SPACING_MS)

    assert await registry.key_of(text_of(ONE)) == ONE


def test_a_place_without_keys_is_refused() -> None:
    with pytest.raises(ValueError, match="base58"):
        Place(rpc_url="http://127.0.0.1/", program="nothing")
