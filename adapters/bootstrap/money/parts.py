"""What a rail is opened with, and what opening it gives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from adapters.config import Settings
from adapters.sandbox.faults import Faults
from adapters.sandbox.wallets import ThrowawayWallet
from domain.ports.clock import Clock
from domain.ports.payments import PaymentRail, PayoutRail

Node = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What every rail is opened with.

    `seed` is 32 secret bytes of this gateway, the same for all gateways on its data folder and
    after a restart: challenges are recognised by it. What a rail must close goes on the `stack`.
    """

    settings: Settings
    clock: Clock
    faults: Faults
    seed: bytes
    stack: AsyncExitStack


class SandboxNetwork(Protocol):
    """A play-money network: its name, its wallets, and money out of nothing.

    Shape:  `chain` is the wallets' (`evm`, `solana`, `tron`); `networks` its names, CAIP-2 first.
            `node` answers clients of its node under `/sandbox/node/<name>` (match_info["tail"] is
            the rest of the path); None where they need no node.
    Units:  token base units, of which one is a microcredit.
    Errors: ConnectionError where the chain is not reached; ValueError for what is no address.
    Source: specs/payments/sandbox.md.
    """

    name: str
    chain: str
    networks: tuple[str, ...]
    node: Node | None
    pay_to: str
    wallet: ThrowawayWallet

    async def fund(self, address: str, amount: int) -> str:
        """Give an address dollars, and what it needs to send them; returns the transaction."""
        ...

    async def balance(self, address: str) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A rail that takes payments at `pay_to`.

    `payout` pays back from a wallet of ours, None where it was given none. `health` says what is
    wrong with the rail, nothing where all is well. `sandbox` is its play money, None on a real
    network.
    """

    rail: PaymentRail
    pay_to: str
    health: Callable[[], Awaitable[str]]
    payout: PayoutRail | None = None
    sandbox: SandboxNetwork | None = None
