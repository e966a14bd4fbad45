"""The server side of `tests.bench.gateway`, in a process of its own: a whole gateway, or aiohttp.

    python -m tests.bench.gateway_process site|bare

Settings come from the environment, as always. It says where it listens, and then does what lines
on standard input ask (JSON), one after the other: the same commands without HTTP.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from typing import Any
from uuid import UUID, uuid4

from aiohttp import web

from adapters.bootstrap import site
from adapters.config import Settings
from adapters.garbage import tend_garbage
from adapters.http.bearer import new_secret, token_of
from adapters.http.server import Runner
from adapters.log import configure
from adapters.recursion import keep_recursion_shallow
from adapters.speech.websocket import HEARTBEAT_S
from domain.account import Account
from domain.api_key import KeyScope
from domain.gateway import Gateway
from domain.ledger import Work
from domain.money import Microcredits
from domain.ports.room_events import Delivery
from domain.pricing import SERVICES
from domain.use_cases.api_keys import issue_key, recognise_key
from domain.use_cases.open_session import SessionRequest, open_session
from tests.bench.gateway_calls import WALLETS, wallets
from tests.bench.gateway_load import WARM_S
from tests.bench.ledger_processes import reserve_some

CREDIT = Microcredits(10**12)
_ROOM = "bench-room"
# As the command line sets it.
_SWITCH_S = 0.001

Figures = dict[str, Any]
One = Callable[[int], Awaitable[object]]


async def serve_site() -> None:
    settings = Settings.from_environ(dict(os.environ))
    configure(settings.log.level)
    async with site(settings) as place:
        gateway = place.gateway
        await asyncio.gather(*(gateway.books.run(partial(fund, index=i)) for i in range(WALLETS)))
        tend_garbage()
        await _answer(place.url, gateway)


async def serve_bare() -> None:
    """What the library costs by itself: the same routes, bodies read, answers of the same size."""

    async def account(_request: web.Request) -> web.Response:
        return web.json_response(_ACCOUNT)

    async def opened(request: web.Request) -> web.Response:
        json.loads(await request.read())
        return web.json_response(_SESSION)

    async def webhook(request: web.Request) -> web.Response:
        json.loads(await request.read())
        return web.json_response({"status": "stored"})

    async def stream(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT_S, compress=False)
        await socket.prepare(request)
        await socket.receive()
        await socket.send_json({"type": "ready"})
        async for _ in socket:
            pass
        return socket

    app = web.Application()
    app.router.add_get("/v1/account", account)
    app.router.add_get("/v1/stream", stream)
    app.router.add_post("/v1/stt/session", opened)
    app.router.add_post("/v1/webhooks/sfu", webhook)
    runner = Runner(app)
    await runner.setup()
    listening = web.TCPSite(runner, "127.0.0.1", 0)
    await listening.start()
    tend_garbage()
    await _answer(f"http://127.0.0.1:{runner.addresses[0][1]}", None)
    await runner.cleanup()


async def _answer(url: str, gateway: Gateway | None) -> None:
    _tell({"url": url})
    while line := await asyncio.to_thread(sys.stdin.readline):
        plan = json.loads(line)
        assert gateway is not None
        _tell(await _DOES[plan.pop("do")](gateway, **plan))


def fund(work: Work, *, index: int) -> None:
    wallet = wallets()[index].lower()
    account = Account.open(chain="evm", wallet=wallet, at_ms=1)
    account.purchase(CREDIT, payment_id=uuid4(), rail="bench", at_ms=2)
    work.add(account)


async def without_http(
    gateway: Gateway, *, what: str, in_flight: int = 0, per_second: int = 0, seconds: float
) -> Figures:
    """One kind of command in a loop, closed (`in_flight`) or open (`per_second`)."""
    one = await _COMMANDS[what](gateway)
    if per_second:
        return await _open_loop(one, per_second, seconds)
    return await _closed_loop(one, in_flight, seconds)


async def _closed_loop(one: One, in_flight: int, seconds: float) -> Figures:
    latencies_ms: list[float] = []
    turns = count()
    begin = time.perf_counter() + WARM_S
    end = begin + seconds

    async def client() -> None:
        while (start := time.perf_counter()) < end:
            await one(next(turns))
            if start >= begin:
                latencies_ms.append((time.perf_counter() - start) * 1_000)

    clients = [asyncio.create_task(client()) for _ in range(in_flight)]
    await asyncio.sleep(WARM_S)
    cpu_s = time.process_time()
    await asyncio.gather(*clients)
    took_s, done = time.perf_counter() - begin, len(latencies_ms)
    return {
        "per_second": done / took_s,
        "latencies_ms": latencies_ms,
        "server_us": (time.process_time() - cpu_s) / done * 1e6,
    }


async def _open_loop(one: One, per_second: int, seconds: float) -> Figures:
    latencies_ms: list[float] = []
    dice = random.Random(1)  # noqa: S311 (arrivals, not secrets)

    async def client(turn: int) -> None:
        start = time.perf_counter()
        await one(turn)
        latencies_ms.append((time.perf_counter() - start) * 1_000)

    tasks = []
    due = time.perf_counter()
    for turn in range(int(per_second * seconds)):
        due += dice.expovariate(per_second)
        await asyncio.sleep(max(0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(client(turn)))
    await asyncio.gather(*tasks)
    return {"per_second": per_second, "latencies_ms": latencies_ms}


async def _read_account(gateway: Gateway) -> One:
    return lambda turn: gateway.books.run(partial(Work.account, account_id=_account_id(turn)))


async def _reserve(gateway: Gateway) -> One:
    return lambda turn: gateway.books.run(
        partial(reserve_some, account_id=_account_id(turn), session_id=uuid4())
    )


async def _open(gateway: Gateway) -> One:
    request = SessionRequest(service="stt", quantity=60_000, language="en")
    return lambda turn: open_session(gateway, _account_id(turn), request)


async def _key(gateway: Gateway) -> One:
    held = [await _issue(gateway, index) for index in range(WALLETS)]
    return lambda turn: recognise_key(gateway, *held[turn % WALLETS])


async def _store(gateway: Gateway) -> One:
    """Deliveries of nobody's session: what follows up on them has nothing to do."""

    def delivery(turn: int) -> Delivery:
        return Delivery(
            delivery_id=f"{turn:064x}",
            issuer="bench",
            session_id=UUID(int=turn),
            received_at_ms=gateway.clock.now_ms(),
            body=_BODY,
        )

    return lambda turn: gateway.room_log.add(delivery(turn))


_COMMANDS: dict[str, Callable[[Gateway], Awaitable[One]]] = {
    "account": _read_account,
    "reserve": _reserve,
    "open": _open,
    "key": _key,
    "store": _store,
}


async def settle(gateway: Gateway) -> None:
    """End every session: nobody has hundreds at a time."""
    now_ms = gateway.clock.now_ms()
    await asyncio.gather(
        *(
            gateway.books.run(partial(settle_all, account_id=_account_id(index), at_ms=now_ms))
            for index in range(WALLETS)
        )
    )


def settle_all(work: Work, *, account_id: UUID, at_ms: int) -> None:
    account = work.account(account_id)
    for session_id in list(account.reserved):
        session = work.session(session_id)
        charged = session.close("ended", at_ms=at_ms)
        account.settle(session_id=session_id, service=session.service, charged=charged, at_ms=at_ms)


async def keys(gateway: Gateway) -> list[str]:
    """A fresh API key of each wallet."""
    return [token_of(*await _issue(gateway, index)) for index in range(WALLETS)]


async def tickets(gateway: Gateway, *, service: str, count: int) -> list[str]:
    """Tokens of as many sessions, of one wallet after the other."""
    quantity = 10_000 if service == "tts" else 3_600_000
    request = SessionRequest(service=service, quantity=quantity)
    return [
        (await open_session(gateway, _account_id(index), request)).token for index in range(count)
    ]


async def rooms(gateway: Gateway, *, count: int) -> list[dict[str, str]]:
    """What a room server knows of as many participants: by what their tokens say."""
    made = []
    for index in range(count):
        identity = f"guest-{index}"
        request = SessionRequest(
            service="webrtc", quantity=3_600_000, room_name=f"{_ROOM}-{index}", identity=identity
        )
        ticket = await open_session(gateway, _account_id(index), request)
        part = ticket.token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        address = str(claims["webHookURL"]).partition("/v1/")[2]
        made.append(
            {"room": claims["video"]["room"], "identity": identity, "address": f"/v1/{address}"}
        )
    return made


async def _issue(gateway: Gateway, index: int) -> tuple[UUID, str]:
    secret = new_secret()
    scope = KeyScope(services=frozenset(SERVICES))
    issued = await issue_key(gateway, _account_id(index), scope, label="", secret=secret)
    return issued.key.id, secret


def _account_id(turn: int) -> UUID:
    return Account.create_id("evm", wallets()[turn % WALLETS].lower())


_DOES: dict[str, Callable[..., Awaitable[Any]]] = {
    "loop": without_http,
    "settle": settle,
    "keys": keys,
    "tickets": tickets,
    "rooms": rooms,
}
_ACCOUNT = {
    "id": "00000000-0000-4000-8000-000000000001",
    "wallet_address": "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf",
    "wallet_chain": "evm",
    "credit_balance": "1000000000000",
    "available_balance": "1000000000000",
    "max_concurrent_sessions": 100_000,
    "max_api_rate": 100_000,
    "created_at": "1970-01-01T00:00:00.001Z",
}
_SESSION = {
    "session_id": "00000000-0000-4000-8000-000000000001",
    "token": "x" * 310,
    "server_url": "http://127.0.0.1:65535",
    "expires_at": "1970-01-01T00:00:00.001Z",
}
_BODY = json.dumps({"event": "track_published", "id": "x" * 300})


def _tell(what: object) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    sys.setswitchinterval(_SWITCH_S)
    keep_recursion_shallow()
    asyncio.run(serve_site() if sys.argv[1] == "site" else serve_bare())
