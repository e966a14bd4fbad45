"""The dTelecom nodes as Solana knows them, kept at hand and refreshed."""

from __future__ import annotations

import base64
import binascii
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

import base58

from adapters.sfu.entries import (
    NODE_BYTES,
    NodeEntry,
    entry_address,
    key_bytes,
    read_node,
    registry_address,
)
from adapters.sfu.nodes import Node, host_of
from adapters.sfu.outbound import Outbound, is_private_host
from domain.ports.clock import Clock

# The public registry on Solana's main network.
PROGRAM = "E2FcHsC9STeB6FEtxBKGAwMTX7cbfYMyjSHKs4QbBAmh"
AUTHORITY = "6KVRs6Yr2oYzddepFdtWrFmVq8sgELcXzbUy7apwuQX4"
NAME = "dtel-nodes"

REFRESH_MS = 5 * 60_000
RETRY_MS = 15_000
NODES_MAX = 5_000
STRANGER_MS = 60_000
STRANGERS_MAX = 10_000
LOOKUP_SPACING_MS = 200
RPC_TIMEOUT_MS = 10_000
_RPC_BYTES_MAX = 8 << 20
_LOOKUP_BYTES_MAX = 16 << 10
# Everybody's gateways must not all ask at the same moment.
_JITTER = 0.2

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a registry is: an RPC server, the program, who keeps the registry, and its name.

    Program and authority are base58; ValueError where they are no keys.
    """

    rpc_url: str
    program: str = PROGRAM
    authority: str = AUTHORITY
    name: str = NAME

    def __post_init__(self) -> None:
        if key_bytes(self.program) is None or key_bytes(self.authority) is None:
            msg = "a registry's program and authority are 32 bytes in base58"
            raise ValueError(msg)


class Registry:
    """Implements `NodeList` and `NodeKeys` over JSON-RPC.

    The last list that could be read serves for as long as none can be read; an empty one counts as
    unread. `secure` is False only for tests: then nodes answer plain http, at any address.
    """

    def __init__(
        self,
        place: Place,
        outbound: Outbound,
        *,
        clock: Clock,
        random: Random,
        secure: bool = True,
    ) -> None:
        self._place = place
        self._program = key_bytes(place.program) or b""
        self._address = registry_address(
            authority=key_bytes(place.authority) or b"", name=place.name, program=self._program
        )
        self._outbound = outbound
        self._clock = clock
        self._random = random
        self._secure = secure
        self._nodes: dict[bytes, Node] = {}
        self._strangers: OrderedDict[bytes, int] = OrderedDict()
        self._next_lookup_ms = 0

    def nodes(self) -> Sequence[Node]:
        return tuple(self._nodes.values())

    async def key_of(self, node_id: str) -> bytes | None:
        """See `NodeKeys`. A key that is not in the list is looked up, a few each second at most."""
        key = key_bytes(node_id)
        if key is None or key in self._nodes:
            return key
        now_ms = self._clock.now_ms()
        if self._strangers.get(key, 0) > now_ms:
            return None
        if now_ms < self._next_lookup_ms:
            raise ConnectionError("too many unknown nodes are being looked up")
        self._next_lookup_ms = now_ms + LOOKUP_SPACING_MS
        node = await self._look_up(key)
        if node is None:
            self._strangers[key] = now_ms + STRANGER_MS
            if len(self._strangers) > STRANGERS_MAX:
                self._strangers.popitem(last=False)
            return None
        if len(self._nodes) < NODES_MAX:
            self._nodes[key] = node
        return key

    async def refresh(self) -> bool:
        """Read the list anew; False where the old one has to do."""
        try:
            nodes = await self._read()
        except ConnectionError as problem:
            facts = {"problem": str(problem), "nodes": len(self._nodes)}
            log.warning("node registry not read", extra=facts)
            return False
        self._nodes = nodes
        log.info("node registry read", extra={"nodes": len(nodes)})
        return True

    async def keep_fresh(self) -> None:
        """Refresh for ever: every few minutes, sooner after a failure, never to the second."""
        is_read = bool(self._nodes)
        while True:
            wait_ms = REFRESH_MS if is_read else RETRY_MS
            wait_ms = int(wait_ms * self._random.uniform(1 - _JITTER, 1 + _JITTER))
            await self._clock.sleep_until(self._clock.now_ms() + wait_ms)
            is_read = await self.refresh()

    async def _read(self) -> dict[bytes, Node]:
        parent = base58.b58encode(self._address).decode()
        options = {
            "encoding": "base64",
            "filters": [
                {"memcmp": {"offset": 8, "bytes": parent, "encoding": "base58"}},
                {"dataSize": NODE_BYTES},
            ],
        }
        found = await self._call(
            "getProgramAccounts", [self._place.program, options], bytes_max=_RPC_BYTES_MAX
        )
        if not isinstance(found, list):
            raise ConnectionError("the list of accounts is no list")
        entries = (
            self._entry(item.get("account")) for item in found[:NODES_MAX] if isinstance(item, dict)
        )
        nodes = {entry.key: self._node(entry) for entry in entries if entry is not None}
        if not nodes:
            raise ConnectionError("the registry has no nodes")
        return nodes

    async def _look_up(self, key: bytes) -> Node | None:
        address = entry_address(key, registry=self._address, program=self._program)
        options = {"encoding": "base64"}
        found = await self._call(
            "getAccountInfo",
            [base58.b58encode(address).decode(), options],
            bytes_max=_LOOKUP_BYTES_MAX,
        )
        if not isinstance(found, dict) or "value" not in found:
            raise ConnectionError("the account is no account")
        entry = self._entry(found["value"])
        return self._node(entry) if entry is not None and entry.key == key else None

    def _entry(self, account: object) -> NodeEntry | None:
        """The node in one account of an answer, None for whatever else is there."""
        if not isinstance(account, Mapping) or account.get("owner") != self._place.program:
            return None
        match account.get("data"):
            case [str() as text, "base64"]:
                pass
            case _:
                return None
        try:
            data = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            return None
        return read_node(data, parent=self._address)

    def _node(self, entry: NodeEntry) -> Node:
        """The node; without a URL where its domain is no host of the open internet."""
        host = host_of(entry.domain)
        if host is None or (self._secure and is_private_host(host.partition(":")[0])):
            return Node(key=entry.key, ws_url="", active=False)
        scheme = "wss" if self._secure else "ws"
        return Node(key=entry.key, ws_url=f"{scheme}://{host}", active=entry.active)

    async def _call(self, method: str, params: list[object], *, bytes_max: int) -> object:
        reply = await self._outbound.ask(
            self._place.rpc_url,
            {"jsonrpc": "2.0", "id": 1, "method": method, "params": params},
            bytes_max=bytes_max,
            timeout_ms=RPC_TIMEOUT_MS,
        )
        if not isinstance(reply, dict) or "result" not in reply:
            raise ConnectionError("the RPC server refused")
        return reply["result"]
