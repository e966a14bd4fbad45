"""A gateway in this process, a room server beside it, and wallets that anybody may have."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from adapters.bootstrap import Site, site
from adapters.cli.customer import Customer
from adapters.config import Settings
from adapters.sandbox.wallets import fresh_evm_wallet
from adapters.sfu.receiver import WEBHOOK_PATH
from tests.e2e.conftest import UNHURRIED
from tests.fakes.room_server import API_KEY, LIVEKIT_KEY, LIVEKIT_SECRET, NODE
from tests.fakes.sfu import Sfu
from tests.fakes.sfu_tokens import DTelecomNode, LiveKitServer


@dataclass
class RoomStreet:
    """A gateway in this process, a node that serves us and Eve, and wallets with credit."""

    kind: str
    place: Site
    sfu: Sfu
    stack: AsyncExitStack

    async def customer(self) -> Customer:
        wallet = fresh_evm_wallet()
        customer = Customer(self.place.url, wallet.secret_key)
        await self.stack.enter_async_context(customer)
        assert self.place.sandbox is not None
        await self.place.sandbox.network("base").fund(customer.address, 1_000_000)
        await customer.buy("0.10")
        return customer

    async def told(self, event: str, identity: str) -> int:
        """Wait for a webhook of that name; how the gateway answered."""
        for _ in range(100):
            for told in self.sfu.herald.told:
                if (told.event, told.identity) == (event, identity):
                    return told.status
            await asyncio.sleep(0.05)
        raise AssertionError("no such webhook")


@asynccontextmanager
async def room_street(
    data: Path, kind: str = "dtelecom", *, clients: Sequence[str] = (), **environ: str
) -> AsyncIterator[RoomStreet]:
    """A sandbox over that folder; `clients` are others whose tokens a dTelecom node takes."""
    vendor: DTelecomNode | LiveKitServer = (
        LiveKitServer(LIVEKIT_KEY, LIVEKIT_SECRET)
        if kind == "livekit"
        else DTelecomNode(bytes(NODE), {API_KEY, *clients})
    )
    async with AsyncExitStack() as stack:
        sfu = await stack.enter_async_context(Sfu(vendor, media=False).listening())
        settings = Settings.from_environ(
            {
                "PAYPHONE_SANDBOX": "1",
                "PAYPHONE_PORT": "0",
                "PAYPHONE_DATA": str(data),
                # Nobody speaks here.
                "PAYPHONE_MODELS_DIR": str(data / "none"),
                **UNHURRIED,
                **rooms_environ(sfu),
                **environ,
            }
        )
        place = await stack.enter_async_context(site(settings))
        if isinstance(vendor, LiveKitServer):
            vendor.hook = place.url + WEBHOOK_PATH
        yield RoomStreet(kind, place, sfu, stack)


def rooms_environ(sfu: Sfu) -> dict[str, str]:
    """What a gateway is told of this room server."""
    if isinstance(sfu.vendor, DTelecomNode):
        return {"PAYPHONE_ROOMS_NODES": f"{sfu.url}={sfu.vendor.key}"}
    return {
        "PAYPHONE_ROOMS": "livekit",
        "PAYPHONE_ROOMS_KEY": LIVEKIT_KEY,
        "PAYPHONE_ROOMS_SECRET": LIVEKIT_SECRET,
        "PAYPHONE_ROOMS_WS_URL": sfu.url,
    }
