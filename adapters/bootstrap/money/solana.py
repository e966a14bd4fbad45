"""Dollars on Solana by x402: a real cluster and a facilitator, ours or far away; or play money."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import AsyncExitStack
from pathlib import Path

from solders.keypair import Keypair

from adapters.bootstrap.money.health import Health
from adapters.bootstrap.money.parts import Opened, Opening
from adapters.bootstrap.problems import CannotStartError
from adapters.keys import KeyFileError, read_private
from adapters.rails.facilitator import Facilitator, HttpFacilitator
from adapters.rails.networks import SOLANA, SOLANA_NETWORKS, SolanaNetwork
from adapters.rails.node_line import NodeLine
from adapters.rails.offers import OfferSigner
from adapters.rails.rpc import HttpRpc
from adapters.rails.solana import SolanaRail
from adapters.rails.solana_chain import SolanaReader
from adapters.rails.solana_health import SolanaHealth
from adapters.rails.solana_payouts import SolanaPayouts
from adapters.rails.solana_signer import SolanaFacilitator, SolanaSigner
from adapters.sandbox.faults import Faults
from adapters.sandbox.solana import SolanaChain
from adapters.sandbox.solana_facilitator import FaultyFacilitator
from adapters.sandbox.solana_network import SandboxSolana
from adapters.sandbox.solana_rpc import SolanaNode
from adapters.sandbox.wallets import sandbox_solana_wallet
from adapters.solana_settings import SolanaSettings
from adapters.store.exclusive import slot, turn

FACILITATOR_TIMEOUT_MS = 30_000
_START_TIMEOUT_S = 5
_SANDBOX_FUNDS = 1_000_000_000
_SANDBOX_LAMPORTS = 10**12

log = logging.getLogger(__name__)


async def open_solana(opening: Opening, settings: SolanaSettings | None) -> Opened | None:
    """The rail of Solana; None where nobody is to be paid there.

    CannotStartError and KeyFileError where an operator must mend something first. A node or a
    facilitator that is away does not keep us from starting: the rail is down until it is back.
    """
    if opening.settings.sandbox:
        return await _play_money(opening)
    return await _real_money(opening, settings) if settings is not None else None


async def _real_money(opening: Opening, settings: SolanaSettings) -> Opened:
    network = SOLANA_NETWORKS[settings.network]
    rpc = HttpRpc(settings.rpc_url)
    opening.stack.push_async_callback(rpc.aclose)
    chain = SolanaReader(rpc)
    key = solana_key(settings.fee_payer_key_file) if settings.fee_payer_key_file else None
    facilitator, far = _facilitator(settings, network, key, opening.stack)
    health = SolanaHealth(
        chain,
        network=network,
        pay_to=settings.pay_to,
        fee_payer=str(key.pubkey()) if key is not None else "",
    )
    await _check_start(health)
    rail = SolanaRail(
        pay_to=settings.pay_to,
        network=network,
        facilitator=facilitator,
        chain=chain,
        clock=opening.clock,
        signer=OfferSigner(opening.seed),
    )
    payout = None
    if settings.refund_key_file is not None:
        wallet = solana_key(settings.refund_key_file)
        payout = SolanaPayouts(rail, wallet, network=network, chain=chain)
    asked = [health.problem, *([far.problem] if far is not None else [])]
    return Opened(
        rail=rail,
        pay_to=settings.pay_to,
        health=Health(opening.clock, *asked).problem,
        payout=payout,
    )


def _facilitator(
    settings: SolanaSettings, network: SolanaNetwork, key: Keypair | None, stack: AsyncExitStack
) -> tuple[Facilitator, HttpFacilitator | None]:
    if key is None:
        far = HttpFacilitator(settings.facilitator_url, timeout_ms=FACILITATOR_TIMEOUT_MS)
        stack.push_async_callback(far.aclose)
        return far, far
    line = NodeLine(settings.rpc_url)
    stack.callback(line.close)
    own = SolanaFacilitator(SolanaSigner(key, line.call), network.caip2)
    stack.callback(own.close)
    return own, None


async def _check_start(health: SolanaHealth) -> None:
    """A node of another chain is a mistake; one that is silent, or an account to make, can wait."""
    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            wrong = await health.wrong_chain()
    except (ConnectionError, TimeoutError) as error:
        log.warning("Solana's node not reached", extra={"failure": type(error).__name__})
        return
    if wrong:
        msg = f"PAYPHONE_SOLANA_RPC_URL or PAYPHONE_SOLANA_NETWORK: {wrong}"
        raise CannotStartError(msg)
    problem = await health.problem()
    if problem:
        log.error("Solana takes no payments yet", extra={"problem": problem})


def solana_key(path: Path) -> Keypair:
    """The key in this file, which only its owner may read, or KeyFileError.

    As `solana-keygen` writes it, a JSON list of 64 numbers, or the 64 bytes in base58.
    """
    text = read_private(path, "a Solana key pair")
    try:
        if text.startswith("["):
            return Keypair.from_bytes(bytes(json.loads(text)))
        return Keypair.from_base58_string(text)
    except Exception:  # noqa: BLE001 (the library raises types of its own; what is said has no key)
        msg = f"{path} must hold a Solana key pair: 64 numbers in a JSON list, or base58"
        raise KeyFileError(msg) from None


async def _play_money(opening: Opening) -> Opened:
    """Each process has a chain of its own, in the first journal that no other writes to."""
    clock, faults = opening.clock, opening.faults
    data = opening.settings.storage.data / "sandbox-solana"
    number = opening.stack.enter_context(slot(data))
    # In a thread: running an old journal takes a while.
    chain = await asyncio.to_thread(SolanaChain, clock, journal=data / f"{number}.journal")
    with turn(data):
        till = sandbox_solana_wallet(data / "gateway.key")
        wallet = sandbox_solana_wallet(data / "customer.key")
        payer = sandbox_solana_wallet(data / "fee-payer.key")
    if not chain.lamports(payer.address):
        chain.fund(payer.address, 0, lamports=_SANDBOX_LAMPORTS)
        chain.fund(till.address, 0)
        chain.fund(wallet.address, _SANDBOX_FUNDS)
    node = SolanaNode(chain, faults)
    reader = SolanaReader(node)
    # Its own line to the chain: that the chain is unreadable is our trouble alone.
    signer = SolanaSigner(
        Keypair.from_base58_string(payer.secret_key), SolanaNode(chain, Faults()).answer
    )
    own = SolanaFacilitator(signer, SOLANA.caip2)
    opening.stack.callback(own.close)
    rail = SolanaRail(
        pay_to=till.address,
        network=SOLANA,
        facilitator=FaultyFacilitator(own, clock, faults),
        chain=reader,
        clock=clock,
        signer=OfferSigner(opening.seed),
    )

    async def health() -> str:
        if faults.facilitator_down:
            return "the sandbox facilitator is switched off"
        return "the sandbox chain is switched off" if faults.chain_unreadable else ""

    key = Keypair.from_base58_string(till.secret_key)
    return Opened(
        rail=rail,
        pay_to=till.address,
        health=health,
        payout=SolanaPayouts(rail, key, network=SOLANA, chain=reader),
        sandbox=SandboxSolana(
            chain, node, networks=rail.networks, pay_to=till.address, wallet=wallet
        ),
    )
