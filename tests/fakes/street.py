"""A gateway on a loopback port, and wallets that call it over real HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import aiohttp
from aiohttp import web
from eth_account import Account as EthAccount
from eth_account.messages import encode_defunct

from adapters.fleet.hub import Fleet
from adapters.fleet.passes import Passes
from adapters.http.app import application
from adapters.http.errors import Handler
from adapters.http.server import Runner
from adapters.http.site import Part, SiteInfo
from adapters.sfu.receiver import Receiver
from adapters.sfu.webhook import LiveKitWebhooks
from domain.use_cases.publish_prices import publish_prices
from domain.use_cases.purchase_credits import Purchases
from domain.use_cases.refund_credits import Refunds
from tests.fakes.contract import check_answer, check_request
from tests.fakes.gateway import House
from tests.fakes.log import SIGNER_KEY

# Throwaway: 32 bytes of 0x01, and of 0x02. Nobody should send anything to them.
ALICE_KEY = "0x" + "01" * 32
BOB_KEY = "0x" + "02" * 32
# Throwaway as well: what the room server signs its webhooks with.
ROOMS_KEY = "the key of the rooms"
FLEET_SECRET = "the secret of the fleet, thirty-two bytes long"
ROOMS_SECRET = "the secret of the rooms, thirty-two bytes long"


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, read to its end."""

    status: int
    headers: Any
    text: str

    @property
    def json(self) -> Any:  # noqa: ANN401 (decoded JSON)
        return json.loads(self.text)


class Wallet:
    """Signs requests as the clients do."""

    def __init__(self, key: str) -> None:
        self._account = EthAccount.from_key(key)

    @property
    def address(self) -> str:
        return str(self._account.address)

    @property
    def canonical(self) -> str:
        return self.address.lower()

    def headers(self, method: str, path: str, timestamp: int) -> dict[str, str]:
        message = encode_defunct(text=f"{method}\n{path}\n{timestamp}")
        signature = self._account.sign_message(message).signature.hex()
        return {
            "Authorization": f"evm:0x{signature}",
            "X-Wallet-Address": self.address,
            "X-Wallet-Chain": "evm",
            "X-Timestamp": str(timestamp),
        }


class Street:
    """A gateway on a loopback port, and people who call it."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.alice = Wallet(ALICE_KEY)
        self.bob = Wallet(BOB_KEY)
        self.parts: list[Part] = [Part(name="ledger", vital=True), Part(name="stt")]
        self.purchases = Purchases(house.gateway)
        self.stream: Handler = plain_stream

    async def open(self) -> None:
        await publish_prices(self.house.gateway)
        fleet = Fleet(passes=Passes(FLEET_SECRET))
        fleet.attach(self.house.gateway, issuer="gateway.test", public_key=bytes(32))
        app = application(
            self.house.gateway,
            purchases=self.purchases,
            refunds=Refunds(self.house.gateway),
            site=SiteInfo(
                public_url="http://gateway.test",
                version="0.0.test",
                sandbox=True,
                log_signer=SIGNER_KEY.text,
            ),
            health=self._health,
            stream=self._stream,
            fleet=fleet,
            webhook=Receiver(
                self.house.gateway, LiveKitWebhooks(key=ROOMS_KEY, secret=ROOMS_SECRET)
            ).receive,
        )
        self._runner = Runner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        self._client = aiohttp.ClientSession(f"http://127.0.0.1:{self.port}")

    async def close(self) -> None:
        await self._client.close()
        await self._runner.cleanup()

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        wallet: Wallet | None = None,
        headers: dict[str, str] | None = None,
        raw: bytes | AsyncIterator[bytes] | None = None,
    ) -> Answer:
        """One request, signed now if a wallet is given; `raw` goes out instead of `body`."""
        signed = (
            wallet.headers(method, path.partition("?")[0], self.house.clock.now_ms() // 1000)
            if wallet
            else {}
        )
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} if data is not None else {}
        async with self._client.request(
            method, path, data=data, headers={**sent, **signed, **(headers or {})}
        ) as answer:
            read = Answer(answer.status, answer.headers, await answer.text())
        if path.partition("?")[0] != "/v1/stream":
            # There, tests let the application answer what it never would.
            hold_to_the_contract(method, path, data, read)
        return read

    async def post(
        self, path: str, body: object = None, *, key: str = "", wallet: Wallet | None = None
    ) -> Answer:
        """Signed by Alice unless another wallet is given; `key` is the Idempotency-Key."""
        headers = {"Idempotency-Key": key} if key else {}
        return await self.call("POST", path, body, wallet=wallet or self.alice, headers=headers)

    async def get(self, path: str, *, wallet: Wallet | None = None) -> Answer:
        return await self.call("GET", path, wallet=wallet or self.alice)

    @property
    def resources(self) -> list[web.AbstractResource]:
        """The paths the application answers."""
        return list(self._runner.app.router.resources())

    @property
    def connections(self) -> int:
        """How many sockets are open at the gateway's side."""
        server = self._runner.server
        return 0 if server is None else len(server.connections)

    async def fund(self, amount: int = 1_000_000) -> None:
        await self.house.fund(self.alice.canonical, amount)

    async def _health(self) -> list[Part]:
        return self.parts

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        return await self.stream(request)


def hold_to_the_contract(
    method: str, path: str, data: bytes | AsyncIterator[bytes] | None, answer: Answer
) -> None:
    """Every answer of every test is one of the document's, as is every body that was accepted."""
    check_answer(method, path, status=answer.status, headers=answer.headers, text=answer.text)
    if answer.status == HTTPStatus.OK and isinstance(data, bytes):
        check_request(method, path, json.loads(data))


async def plain_stream(_request: web.Request) -> web.StreamResponse:
    return web.Response(text="the stream")
