"""Dollars on Base by x402: a real network with a facilitator, ours or another's, or play money."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from pathlib import Path

from eth_account import Account
from eth_account.signers.local import LocalAccount

from adapters.base_settings import X402Settings
from adapters.bootstrap.money.health import Health
from adapters.bootstrap.money.parts import Opened, Opening
from adapters.bootstrap.problems import CannotStartError
from adapters.keys import KeyFileError, read_private
from adapters.rails.chain import EvmChainReader, WrongChainError
from adapters.rails.evm_sender import Sender
from adapters.rails.evm_signer import GasKeySigner
from adapters.rails.facilitator import HttpFacilitator
from adapters.rails.networks import BASE, BASE_NETWORKS, BaseNetwork
from adapters.rails.node_line import NodeLine
from adapters.rails.offers import OfferSigner
from adapters.rails.own_facilitator import OwnFacilitator
from adapters.rails.rpc import HttpRpc
from adapters.rails.x402 import X402Rail
from adapters.rails.x402_payouts import X402Payouts
from adapters.sandbox.base_network import SandboxBase
from adapters.sandbox.evm import SandboxChain
from adapters.sandbox.facilitator import SandboxFacilitator
from adapters.sandbox.faults import Faults
from adapters.sandbox.rpc import SandboxNode
from adapters.sandbox.wallets import sandbox_wallet
from adapters.store.exclusive import slot, turn
from domain.ports.clock import Clock

FACILITATOR_TIMEOUT_MS = 30_000
_START_TIMEOUT_S = 5
# Base mines a block every two seconds.
_HEAD_AGE_MAX_S = 120
_SANDBOX_FUNDS = 1_000_000_000

log = logging.getLogger(__name__)


async def open_base(opening: Opening) -> Opened | None:
    """The rail of Base; None where nobody is to be paid there.

    CannotStartError and KeyFileError where an operator must mend something first. A node or a
    facilitator that is away does not keep us from starting: the rail is down until it is back.
    """
    if opening.settings.sandbox:
        return await _play_money(opening)
    settings = opening.settings.x402
    return await _real_money(opening, settings) if settings is not None else None


async def _real_money(opening: Opening, settings: X402Settings) -> Opened:
    network, clock = BASE_NETWORKS[settings.network], opening.clock
    rpc = HttpRpc(settings.rpc_url)
    opening.stack.push_async_callback(rpc.aclose)
    chain = EvmChainReader(rpc, chain_id=network.chain_id)
    await _check_chain(chain)
    facilitator = _facilitator(settings, network, clock, opening.stack)
    rail = X402Rail(
        pay_to=settings.pay_to,
        network=network,
        facilitator=facilitator,
        chain=chain,
        clock=clock,
        signer=OfferSigner(opening.seed),
    )
    payout = None
    if settings.refund_key_file is not None:
        wallet = evm_key(settings.refund_key_file)
        payout = X402Payouts(rail, wallet, network=network, chain=chain, clock=clock)
    return Opened(
        rail=rail,
        pay_to=settings.pay_to,
        health=Health(clock, lambda: _node_problem(chain, clock), facilitator.problem).problem,
        payout=payout,
    )


def _facilitator(
    settings: X402Settings, network: BaseNetwork, clock: Clock, stack: AsyncExitStack
) -> HttpFacilitator | OwnFacilitator:
    if settings.gas_key_file is None:
        far = HttpFacilitator(settings.facilitator_url, timeout_ms=FACILITATOR_TIMEOUT_MS)
        stack.push_async_callback(far.aclose)
        return far
    account = evm_key(settings.gas_key_file)
    line = NodeLine(settings.rpc_url)
    stack.callback(line.close)
    sender = Sender(line, account, chain_id=network.chain_id, clock=clock)
    signer = GasKeySigner(line, sender, address=account.address, chain_id=network.chain_id)
    own = OwnFacilitator(signer, network)
    stack.push_async_callback(own.aclose)
    return own


def evm_key(path: Path) -> LocalAccount:
    """The key in this file, 64 hex digits that only its owner may read, or KeyFileError."""
    text = read_private(path, "an EVM private key")
    try:
        account: LocalAccount = Account.from_key(bytes.fromhex(text.removeprefix("0x")))
    except ValueError:
        msg = f"{path} must hold an EVM private key: 64 hex digits"
        raise KeyFileError(msg) from None
    return account


async def _check_chain(chain: EvmChainReader) -> None:
    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            await chain.check_chain()
    except WrongChainError as wrong:
        msg = f"PAYPHONE_BASE_RPC_URL or PAYPHONE_X402_NETWORK: {wrong}"
        raise CannotStartError(msg) from None
    except (ConnectionError, TimeoutError) as error:
        log.warning("Base's node not reached", extra={"failure": type(error).__name__})


async def _node_problem(chain: EvmChainReader, clock: Clock) -> str:
    try:
        age_s = clock.now_ms() // 1000 - await chain.head_time_s()
    except ConnectionError as error:
        return str(error)
    return f"the node's newest block is {age_s} seconds old" if age_s > _HEAD_AGE_MAX_S else ""


async def _play_money(opening: Opening) -> Opened:
    """Each process has a chain of its own, in the first journal that no other writes to."""
    data, clock, faults = opening.settings.storage.data, opening.clock, opening.faults
    number = opening.stack.enter_context(slot(data))
    journal = "sandbox.journal" if number == 1 else f"sandbox-{number}.journal"
    # In a thread: loading the interpreter and running an old journal takes a while.
    chain = await asyncio.to_thread(SandboxChain, clock, journal=data / journal)
    with turn(data):
        till = sandbox_wallet(data / "sandbox-gateway.key")
        wallet = sandbox_wallet(data / "sandbox-customer.key")
    if chain.balance(wallet.address) == 0:
        chain.mint(wallet.address, _SANDBOX_FUNDS)
    node = SandboxNode(chain, faults)
    reader = EvmChainReader(node, chain_id=BASE.chain_id)
    rail = X402Rail(
        pay_to=till.address,
        network=BASE,
        facilitator=SandboxFacilitator(chain, clock, faults),
        chain=reader,
        clock=clock,
        signer=OfferSigner(opening.seed),
    )

    async def health() -> str:
        return _switched_off(faults)

    key = Account.from_key(till.secret_key)
    return Opened(
        rail=rail,
        pay_to=till.address,
        health=health,
        payout=X402Payouts(rail, key, network=BASE, chain=reader, clock=clock),
        sandbox=SandboxBase(
            chain, node, networks=rail.networks, pay_to=till.address, wallet=wallet
        ),
    )


def _switched_off(faults: Faults) -> str:
    if faults.facilitator_down:
        return "the sandbox facilitator is switched off"
    return "the sandbox chain is switched off" if faults.chain_unreadable else ""
