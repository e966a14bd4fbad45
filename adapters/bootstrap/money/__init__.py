"""How this gateway is paid: on real networks, or with play money in the process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from adapters.bootstrap.money.base import open_base
from adapters.bootstrap.money.parts import Opened, Opening, SandboxNetwork
from adapters.bootstrap.money.solana import open_solana
from adapters.bootstrap.money.tempo import open_tempo
from adapters.bootstrap.money.tron import open_tron
from adapters.config import Settings
from adapters.http.play_money import NODES_PATH
from adapters.http.site import Part
from adapters.keys import load_or_create_seed
from adapters.rails.offers import OfferSigner
from adapters.sandbox.faults import Faults
from adapters.sandbox.wallets import ThrowawayWallet
from adapters.store.exclusive import turn
from domain.ports.clock import Clock
from domain.ports.payments import PaymentRail, PayoutRail

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """The play money of a sandbox gateway: its networks, each with a funded wallet, its faults."""

    networks: tuple[SandboxNetwork, ...]
    faults: Faults

    def network(self, name: str) -> SandboxNetwork:
        """The network of this name, or LookupError."""
        for network in self.networks:
            if network.name == name:
                return network
        raise LookupError(name)

    @property
    def evm(self) -> ThrowawayWallet:
        """The funded wallet on Base."""
        return self.network("base").wallet


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """The rails there are, the key that signs offers and receipts, and the sandbox if it is one."""

    opened: tuple[Opened, ...]
    offer_key: bytes
    sandbox: Sandbox | None

    @property
    def rails(self) -> tuple[PaymentRail, ...]:
        return tuple(opened.rail for opened in self.opened)

    @property
    def payouts(self) -> tuple[PayoutRail, ...]:
        return tuple(opened.payout for opened in self.opened if opened.payout is not None)

    async def parts(self) -> Sequence[Part]:
        """What is wrong with each rail; none of them is vital, since money can wait."""
        problems = await asyncio.gather(*(opened.health() for opened in self.opened))
        return [
            Part(name=opened.rail.name, problem=problem)
            for opened, problem in zip(self.opened, problems, strict=True)
        ]


def node_url(url: str, network: SandboxNetwork) -> str | None:
    """Where clients reach the node of this network of the gateway at `url`, if it has one."""
    return f"{url}{NODES_PATH}/{network.name}" if network.node is not None else None


async def open_money(
    settings: Settings, clock: Clock, faults: Faults, stack: AsyncExitStack
) -> Money:
    """Open every rail there are settings for; in the sandbox, every one this machine can play."""
    with turn(settings.storage.data):
        seed = load_or_create_seed(settings.storage.data / "payments.key")
    opening = Opening(settings=settings, clock=clock, faults=faults, seed=seed, stack=stack)
    # One after the other: each of several processes on a folder takes its own chains, in one order.
    asked = [
        await open_base(opening),
        await open_solana(opening, settings.solana),
        await open_tempo(opening, settings.tempo),
        await open_tron(opening, settings.tron),
    ]
    opened = tuple(rail for rail in asked if rail is not None)
    if settings.refunds.enabled and not any(rail.payout for rail in opened):
        _log.warning("refunds are enabled, and no rail has a PAYPHONE_..._REFUND_KEY_FILE")
    networks = tuple(rail.sandbox for rail in opened if rail.sandbox is not None)
    return Money(
        opened=opened,
        offer_key=OfferSigner(seed).public,
        sandbox=Sandbox(networks=networks, faults=faults) if settings.sandbox else None,
    )
