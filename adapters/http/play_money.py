"""The sandbox's own paths: its chains, money out of nothing, and what can be made to go wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from aiohttp import web

from adapters.http.bodies import malformed, read_body
from adapters.http.errors import Handler
from domain.errors import RailDownError
from domain.money import MICROCREDITS_PER_USD, Microcredits

SANDBOX_PATH = "/sandbox"
NODES_PATH = f"{SANDBOX_PATH}/node"
_FUNDS_MIN = Microcredits(1)
_FUNDS_MAX = Microcredits(1_000_000 * MICROCREDITS_PER_USD)
_ADDRESS_LENGTH_MAX = 64
_FAULT_MAX = 600_000
# Where an answer means that money was taken.
_SOLD_AT = ("/v1/credits/purchase", "/v1/session")
_OK = 200

Node = Callable[[web.Request], Awaitable[web.StreamResponse]]


class PlayWallet(Protocol):
    """A throwaway wallet: `address` as people write it on its chain."""

    @property
    def address(self) -> str: ...


class PlayNetwork(Protocol):
    """A play-money network: its name, its wallets, and money out of nothing.

    Shape:  `chain` is the wallets' (`evm`, `solana`, `tron`); `networks` its names, CAIP-2 first.
            `node` answers clients of its node under `/sandbox/node/<name>` (match_info["tail"] is
            the rest of the path); None where they need no node.
    Units:  token base units, of which one is a microcredit.
    Errors: ConnectionError where the chain is not reached; ValueError for what is no address.
    Source: specs/payments/sandbox.md.
    """

    @property
    def name(self) -> str: ...
    @property
    def chain(self) -> str: ...
    @property
    def networks(self) -> tuple[str, ...]: ...
    @property
    def node(self) -> Node | None: ...
    @property
    def pay_to(self) -> str: ...
    @property
    def wallet(self) -> PlayWallet: ...

    async def fund(self, address: str, amount: int) -> str:
        """Give an address dollars, and what it needs to send them; returns the transaction."""
        ...

    async def balance(self, address: str) -> int: ...


class Switches(Protocol):
    """The faults there are, by name; off is 0."""

    def shown(self) -> Mapping[str, int]: ...

    def turn(self, name: str, value: int) -> None:
        """KeyError where there is no such fault."""
        ...


class PlayMoney:
    """Answers under `/sandbox`; there only where all money is play money."""

    def __init__(
        self, networks: Sequence[PlayNetwork], switches: Switches, *, public_url: str
    ) -> None:
        self._networks = {network.name: network for network in networks}
        self._switches = switches
        self._public_url = public_url.rstrip("/")

    def add_to(self, app: web.Application) -> None:
        app.router.add_get(f"{SANDBOX_PATH}/chains", self.chains)
        app.router.add_post(f"{SANDBOX_PATH}/fund", self.fund)
        app.router.add_get(f"{SANDBOX_PATH}/faults", self.faults)
        app.router.add_post(f"{SANDBOX_PATH}/faults", self.turn)
        app.router.add_route("*", NODES_PATH + r"/{name:[a-z]+}{tail:.*}", self.node)

    @web.middleware
    async def lose_replies(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """With the fault `drop_reply`, cut the line instead of telling a buyer of its credit."""
        answer = await handler(request)
        sold = request.path.startswith(_SOLD_AT) and answer.status == _OK
        if sold and self._switches.shown().get("drop_reply"):
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError
        return answer

    async def chains(self, request: web.Request) -> web.Response:
        """Every network: who is paid there, the wallet that is funded, and where its node is."""
        return web.json_response(
            {"chains": [await self._chain(n) for n in self._networks.values()]}
        )

    async def fund(self, request: web.Request) -> web.Response:
        """Give `address` on the network `chain` play dollars, and gas to send them with."""
        body = await read_body(request)
        network = self._named(body.text("chain", length_max=32))
        amount = body.usd("amount_usd", least=_FUNDS_MIN, most=_FUNDS_MAX)
        address = body.text("address", length_max=_ADDRESS_LENGTH_MAX)
        try:
            transaction = await network.fund(address, amount.value)
            balance = await network.balance(address)
        except ValueError as unreadable:
            raise malformed("address", f"an address on {network.name}", address) from unreadable
        except ConnectionError as away:
            raise RailDownError(rail=network.name) from away
        return web.json_response(
            {
                "chain": network.name,
                "address": address,
                "transaction": transaction,
                "balance": str(balance),
            }
        )

    async def faults(self, request: web.Request) -> web.Response:
        return web.json_response({"faults": dict(self._switches.shown())})

    async def turn(self, request: web.Request) -> web.Response:
        """Set the faults that are named, to 0 or to what they are."""
        body = await read_body(request)
        known = self._switches.shown()
        wanted = {
            name: body.count(name, least=0, most=_FAULT_MAX) for name in known if body.has(name)
        }
        if not wanted:
            raise malformed("body", f"one or more of {', '.join(known)} as numbers", None)
        for name, value in wanted.items():
            self._switches.turn(name, value)
        return await self.faults(request)

    async def node(self, request: web.Request) -> web.StreamResponse:
        """The node of a network, as its clients reach it."""
        network = self._networks.get(request.match_info["name"])
        if network is None or network.node is None:
            raise web.HTTPNotFound
        return await network.node(request)

    def _named(self, name: str) -> PlayNetwork:
        if name not in self._networks:
            raise malformed("chain", " or ".join(self._networks), name)
        return self._networks[name]

    async def _chain(self, network: PlayNetwork) -> dict[str, object]:
        has_node = network.node is not None
        return {
            "name": network.name,
            "wallet_chain": network.chain,
            "networks": list(network.networks),
            "node": f"{self._public_url}{NODES_PATH}/{network.name}" if has_node else None,
            "pay_to": network.pay_to,
            "pay_to_balance": str(await network.balance(network.pay_to)),
            "wallet": network.wallet.address,
            "wallet_balance": str(await network.balance(network.wallet.address)),
        }
