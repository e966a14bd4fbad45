"""How this gateway is paid: a real network, or play money in the process."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass

from adapters.config import Settings
from adapters.rails.chain import EvmChainReader
from adapters.rails.facilitator import HttpFacilitator
from adapters.rails.networks import BASE, BASE_NETWORKS
from adapters.rails.rpc import HttpRpc
from adapters.rails.x402 import X402Rail
from adapters.sandbox.evm import SandboxChain
from adapters.sandbox.facilitator import SandboxFacilitator
from adapters.sandbox.faults import Faults
from adapters.sandbox.rpc import SandboxNode
from adapters.sandbox.wallets import ThrowawayWallet, fresh_solana_wallet, sandbox_wallet
from adapters.store.exclusive import slot, turn
from domain.ports.clock import Clock

FACILITATOR_TIMEOUT_MS = 30_000
_SANDBOX_FUNDS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """The play money of a sandbox gateway: its chain, its faults, two funded wallets."""

    chain: SandboxChain
    faults: Faults
    evm: ThrowawayWallet
    solana: ThrowawayWallet


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """The rail, who is paid on which network, and the sandbox if it is one."""

    rail: X402Rail
    pay_to: str
    network: str
    sandbox: Sandbox | None


def open_money(settings: Settings, clock: Clock, faults: Faults, stack: AsyncExitStack) -> Money:
    if settings.x402 is not None:
        facilitator = HttpFacilitator(
            settings.x402.facilitator_url, timeout_ms=FACILITATOR_TIMEOUT_MS
        )
        rpc = HttpRpc(settings.x402.rpc_url)
        stack.push_async_callback(facilitator.aclose)
        stack.push_async_callback(rpc.aclose)
        network = BASE_NETWORKS[settings.x402.network]
        rail = X402Rail(
            pay_to=settings.x402.pay_to,
            network=network,
            facilitator=facilitator,
            chain=EvmChainReader(rpc),
            clock=clock,
        )
        return Money(rail=rail, pay_to=settings.x402.pay_to, network=network.caip2, sandbox=None)
    return _play_money(settings, clock, faults, stack)


def _play_money(settings: Settings, clock: Clock, faults: Faults, stack: AsyncExitStack) -> Money:
    """Each process has a chain of its own, in the first journal that no other writes to."""
    data = settings.storage.data
    number = stack.enter_context(slot(data))
    journal = "sandbox.journal" if number == 1 else f"sandbox-{number}.journal"
    chain = SandboxChain(clock, journal=data / journal)
    with turn(data):
        pay_to = sandbox_wallet(data / "sandbox-gateway.key").address
        wallet = sandbox_wallet(data / "sandbox-customer.key")
    if chain.balance(wallet.address) == 0:
        chain.mint(wallet.address, _SANDBOX_FUNDS)
    rail = X402Rail(
        pay_to=pay_to,
        network=BASE,
        facilitator=SandboxFacilitator(chain, clock, faults),
        chain=EvmChainReader(SandboxNode(chain, faults)),
        clock=clock,
    )
    sandbox = Sandbox(chain=chain, faults=faults, evm=wallet, solana=fresh_solana_wallet())
    return Money(rail=rail, pay_to=pay_to, network=BASE.caip2, sandbox=sandbox)
