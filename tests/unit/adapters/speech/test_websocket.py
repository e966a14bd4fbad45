from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestClient, TestServer

from adapters.speech.drive import FRAME_BYTES_MAX
from adapters.speech.websocket import Streams, WebSocketWire
from domain.use_cases.open_session import Ticket
from tests.fakes.gateway import House
from tests.fakes.speech import DirectedSynthesizer, DirectedTranscriber, buy, session_of

Client = TestClient[web.Request, web.Application]


@pytest.fixture
def ear() -> DirectedTranscriber:
    return DirectedTranscriber()


@pytest.fixture
def house(ear: DirectedTranscriber) -> House:
    return House(ear=ear, mouth=DirectedSynthesizer())


@pytest.fixture
async def ticket(house: House) -> Ticket:
    return await buy(house, "stt", 300_000)


@pytest.fixture
def streams(house: House) -> Streams:
    return Streams(house.booth)


@pytest.fixture
async def client(streams: Streams) -> AsyncIterator[Client]:
    app = web.Application()
    app.router.add_get("/v1/stream", streams.handle)
    async with TestClient(TestServer(app)) as client:
        yield client
        await streams.close()


async def test_a_socket_listens(client: Client, ear: DirectedTranscriber, ticket: Ticket) -> None:
    async with client.ws_connect("/v1/stream") as socket:
        await socket.send_json({"type": "config", "session_key": ticket.token, "language": "en"})
        ready = await socket.receive_json(timeout=5)
        await socket.send_bytes(b"\1\0" * 160)
        await socket.send_json({"type": "ping"})
        pong = await socket.receive_json(timeout=5)

    assert (ready["type"], ready["remaining_seconds"]) == ("ready", 300)
    assert pong == {"type": "pong"}
    assert bytes(ear.streams[0].heard) == b"\1\0" * 160


async def test_a_socket_speaks(client: Client, house: House) -> None:
    ticket = await buy(house, "tts", 100)

    async with client.ws_connect("/v1/stream") as socket:
        await socket.send_json({"session_key": ticket.token})
        await socket.send_json({"text": "hey"})
        messages = [await socket.receive(timeout=5) for _ in range(6)]

    kinds = [message.type for message in messages]
    assert kinds == [WSMsgType.TEXT, WSMsgType.TEXT, *[WSMsgType.BINARY] * 3, WSMsgType.TEXT]
    assert messages[-1].json() == {"type": "done"}


async def test_a_peer_that_drops_stops_its_clock(
    client: Client, house: House, ticket: Ticket, streams: Streams
) -> None:
    async with client.ws_connect("/v1/stream") as socket:
        await socket.send_json({"type": "config", "session_key": ticket.token})
        await socket.receive_json(timeout=5)
        await house.clock.advance(3_000)
        assert socket._response.connection is not None
        assert socket._response.connection.transport is not None
        socket._response.connection.transport.abort()
    await streams.close()

    session = await session_of(house, ticket.session_id)
    assert (session.used, session.is_running) == (3_000, False)


async def test_a_refused_socket_is_told_and_closed_with_a_code(client: Client) -> None:
    async with client.ws_connect("/v1/stream") as socket:
        await socket.send_bytes(b"\0\0")
        error = await socket.receive_json(timeout=5)
        last = await socket.receive(timeout=5)

    assert error["code"] == "malformed"
    assert (last.type, socket.close_code) == (WSMsgType.CLOSE, 4400)


async def test_a_frame_over_the_limit_is_told_and_closed_as_too_big(
    client: Client, ticket: Ticket
) -> None:
    async with client.ws_connect("/v1/stream") as socket:
        await socket.send_json({"type": "config", "session_key": ticket.token})
        await socket.receive_json(timeout=5)
        await socket.send_bytes(b"\0" * (FRAME_BYTES_MAX + 1))
        error = await socket.receive_json(timeout=5)
        await socket.receive(timeout=5)

    assert error["code"] == "too_large"
    assert socket.close_code == 1009


async def test_a_frame_far_over_the_limit_stops_the_clock(
    client: Client, house: House, ticket: Ticket, streams: Streams
) -> None:
    async with client.ws_connect("/v1/stream") as socket:
        await socket.send_json({"type": "config", "session_key": ticket.token})
        await socket.receive_json(timeout=5)
        # The server stops reading in the middle of it.
        with suppress(ConnectionError):
            await socket.send_bytes(b"\0" * (5 * FRAME_BYTES_MAX))
        await socket.receive(timeout=5)
    await streams.close()

    assert not (await session_of(house, ticket.session_id)).is_running


async def test_a_stopping_server_closes_its_sockets(
    client: Client, ticket: Ticket, streams: Streams
) -> None:
    async with client.ws_connect("/v1/stream") as socket:
        await socket.send_json({"type": "config", "session_key": ticket.token})
        await socket.receive_json(timeout=5)
        live = streams.live
        closing = asyncio.create_task(streams.close())
        error = await socket.receive_json(timeout=5)
        await socket.receive(timeout=5)
        await closing

    assert (live, streams.live) == (1, 0)
    assert (error["code"], socket.close_code) == ("shutting_down", 1001)


async def test_a_plain_get_is_told_to_upgrade(client: Client) -> None:
    answer = await client.get("/v1/stream")

    assert answer.status == 426
    assert answer.headers["Upgrade"] == "websocket"
    assert "WebSocket" in (await answer.json())["error"]


async def test_a_handshake_of_another_version_is_refused(client: Client) -> None:
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "1"}

    answer = await client.get("/v1/stream", headers=headers)

    assert answer.status == 400
    assert (await answer.json())["code"] == "malformed"


async def test_a_stopping_server_takes_no_more(client: Client, streams: Streams) -> None:
    await streams.close()

    answer = await client.get("/v1/stream")

    assert answer.status == 503
    assert answer.headers["Retry-After"] == "5"


async def test_a_peer_that_does_not_read_is_dropped() -> None:
    dropped: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def flood(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        wire = WebSocketWire(socket, request.transport, send_s_max=0.05)
        try:
            while True:
                await wire.send(b"\0" * FRAME_BYTES_MAX)
        except ConnectionError:
            await wire.close(1000, "")
            dropped.set_result(socket.closed)
        return socket

    app = web.Application()
    app.router.add_get("/", flood)
    async with TestClient(TestServer(app)) as client, client.ws_connect("/", max_msg_size=0):
        closed = await asyncio.wait_for(dropped, 10)

    assert closed
