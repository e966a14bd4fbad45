"""What a rail is opened with, and what opening it gives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Protocol

from adapters.config import Settings
from adapters.http.play_money import Node, PlayNetwork
from adapters.sandbox.faults import Faults
from adapters.sandbox.wallets import ThrowawayWallet
from domain.ports.clock import Clock
from domain.ports.payments import PaymentRail, PayoutRail

__all__ = ["Node", "Opened", "Opening", "SandboxNetwork"]


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


class SandboxNetwork(PlayNetwork, Protocol):
    """A play-money network whose funded wallet we may hand out."""

    @property
    def wallet(self) -> ThrowawayWallet: ...


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
