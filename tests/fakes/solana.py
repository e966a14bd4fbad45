"""A Solana RPC server on loopback, with the bytes and the faults of a real one."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import base58
from aiohttp import web

from adapters.sfu.entries import entry_address, registry_address

# Throwaway keys: nobody has their private halves.
PROGRAM, AUTHORITY = bytes([3] * 32), bytes([4] * 32)
REGISTRY = registry_address(authority=AUTHORITY, name="test-nodes", program=PROGRAM)
OTHER_REGISTRY = registry_address(authority=AUTHORITY, name="other-nodes", program=PROGRAM)

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def text_of(key: bytes) -> str:
    return base58.b58encode(key).decode()


def node_entry(
    key: bytes, domain: str, *, active: bool = True, parent: bytes = REGISTRY, online: int = 7
) -> bytes:
    """334 bytes: what is behind the domain follows it at once, then zeros."""
    name = domain.encode()
    head = hashlib.sha256(b"account:NodeEntry").digest()[:8] + parent + key
    tail = struct.pack("<iB", online, active)
    return (head + struct.pack("<I", len(name)) + name + tail).ljust(334, b"\0")


def client_entry(key: bytes, *, parent: bytes = REGISTRY) -> bytes:
    """84 bytes, at the address where the same key's node entry would be."""
    head = hashlib.sha256(b"account:ClientEntry").digest()[:8] + parent + key
    return head + struct.pack("<qI", 1 << 32, 100)


class SolanaRpc:
    """Answers the two methods from `accounts` as a validator would, filters included.

    Faults: `answer` replaces every answer; `unfiltered` lists accounts of any size and parent.
    `news` is set with every call.
    """

    def __init__(self) -> None:
        self.accounts: dict[bytes, bytes] = {}
        self.owner = PROGRAM
        self.answer: Answer | None = None
        self.unfiltered = False
        self.calls: list[str] = []
        self.news = asyncio.Event()

    def put(self, key: bytes, entry: bytes) -> None:
        self.accounts[entry_address(key, registry=REGISTRY, program=PROGRAM)] = entry

    async def handle(self, request: web.Request) -> web.StreamResponse:
        call = await request.json()
        self.calls.append(call["method"])
        self.news.set()
        if self.answer is not None:
            return await self.answer(request)
        if call["method"] == "getAccountInfo":
            found = self.accounts.get(base58.b58decode(call["params"][0]))
            value = None if found is None else self._shown(found)
            result: object = {"context": {"slot": 1}, "value": value}
        else:
            result = [
                {"pubkey": text_of(address), "account": self._shown(data)}
                for address, data in self.accounts.items()
                if self.unfiltered or _passes(data, call["params"])
            ]
        return web.json_response({"jsonrpc": "2.0", "id": call["id"], "result": result})

    def _shown(self, data: bytes) -> dict[str, object]:
        return {
            "data": [base64.b64encode(data).decode(), "base64"],
            "executable": False,
            "lamports": 3_215_520,
            "owner": text_of(self.owner),
            "rentEpoch": 18_446_744_073_709_551_615,
            "space": len(data),
        }


def _passes(data: bytes, params: list[Any]) -> bool:
    program, options = params
    if base58.b58decode(program) != PROGRAM or options["encoding"] != "base64":
        return False
    for wanted in options["filters"]:
        if "dataSize" in wanted and len(data) != wanted["dataSize"]:
            return False
        if "memcmp" in wanted:
            offset, part = wanted["memcmp"]["offset"], base58.b58decode(wanted["memcmp"]["bytes"])
            if data[offset : offset + len(part)] != part:
                return False
    return True


@asynccontextmanager
async def serving(answer: Answer, path: str = "/") -> AsyncIterator[str]:
    """`host:port` of a loopback server that answers POSTs at this path."""
    app = web.Application()
    app.router.add_post(path, answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
