"""Dollars on TRON by payment permits: a real network, or play money on anvil."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from coincurve import PrivateKey

from adapters.bootstrap.money.health import Health
from adapters.bootstrap.money.parts import Opened, Opening
from adapters.bootstrap.problems import CannotStartError
from adapters.keys import KeyFileError, read_private
from adapters.rails.tron import TronRail
from adapters.rails.tron_chain import TronChain, WrongNetworkError
from adapters.rails.tron_desk import PermitDesk
from adapters.rails.tron_facilitator import HttpTronFacilitator, TronFacilitator
from adapters.rails.tron_health import carrier_problem, node_problem
from adapters.rails.tron_networks import TRON_MAINNET, TRON_NETWORKS, TronNetwork
from adapters.rails.tron_node import HttpTronNode, TronNode
from adapters.rails.tron_payout import TronPayout
from adapters.rails.tron_terms import Permits, Quotes
from adapters.sandbox.anvil import AnvilError, find_anvil
from adapters.sandbox.tron_network import SandboxTronNetwork, tron_wallet
from adapters.store.exclusive import slot, turn
from adapters.tron_settings import TronSettings

NAME = "x402-tron"
FACILITATOR_TIMEOUT_MS = 90_000
_START_TIMEOUT_S = 5
_SANDBOX_FEE_MAX = 100_000
_SANDBOX_FUNDS = 1_000_000_000
_KEY_LENGTH_MAX = 1_000

log = logging.getLogger(__name__)


async def open_tron(opening: Opening, settings: TronSettings | None) -> Opened | None:
    """The rail of TRON; None where nobody is to be paid there, or a sandbox has no anvil.

    CannotStartError and KeyFileError where an operator must mend something first. A node or a
    facilitator that is away does not keep us from starting: the rail is down until it is back.
    """
    if opening.settings.sandbox:
        return await _play_money(opening)
    return await _real_money(opening, settings) if settings is not None else None


async def _real_money(opening: Opening, settings: TronSettings) -> Opened:
    facilitator = HttpTronFacilitator(
        settings.facilitator_url,
        key=_secret(settings.facilitator_key_file),
        timeout_ms=FACILITATOR_TIMEOUT_MS,
    )
    node = HttpTronNode(settings.node_url, key=_secret(settings.node_key_file))
    opening.stack.push_async_callback(facilitator.aclose)
    opening.stack.push_async_callback(node.aclose)
    network = TRON_NETWORKS[settings.network]
    await _check_network(TronChain(node, network))
    refunds = settings.refund_key_file
    return _opened(
        opening,
        network=network,
        pay_to=settings.pay_to,
        fee_max=settings.fee_max,
        facilitator=facilitator,
        node=node,
        key=_private_key(refunds) if refunds is not None else None,
    )


async def _check_network(chain: TronChain) -> None:
    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            await chain.check_network()
    except WrongNetworkError as wrong:
        msg = f"PAYPHONE_TRON_NODE_URL or PAYPHONE_TRON_NETWORK: {wrong}"
        raise CannotStartError(msg) from None
    except (ConnectionError, TimeoutError) as error:
        log.warning("TRON's node not reached", extra={"failure": type(error).__name__})


async def _play_money(opening: Opening) -> Opened | None:
    """Each process has a chain of its own, in the first state file that no other writes to."""
    binary = await asyncio.to_thread(find_anvil)
    if binary is None:
        log.info("no TRON in this sandbox: anvil is not on PATH")
        return None
    data = opening.settings.storage.data
    folder = data / "sandbox-tron"
    number = opening.stack.enter_context(slot(folder))
    with turn(data):
        wallets = (
            tron_wallet(data / "sandbox-tron-customer.key"),
            tron_wallet(data / "sandbox-tron-gateway.key"),
            tron_wallet(data / "sandbox-tron-facilitator.key"),
        )
    try:
        sandbox = await opening.stack.enter_async_context(
            SandboxTronNetwork.opened(
                binary,
                opening.clock,
                opening.faults,
                networks=TRON_MAINNET.names,
                state=folder / f"chain-{number}.json",
                wallets=wallets,
            )
        )
    except AnvilError as error:
        log.warning("no TRON in this sandbox", extra={"problem": str(error)})
        return None
    if await sandbox.balance(sandbox.wallet.address) == 0:
        await sandbox.fund(sandbox.wallet.address, _SANDBOX_FUNDS)
    return _opened(
        opening,
        network=TRON_MAINNET,
        pay_to=sandbox.pay_to,
        fee_max=_SANDBOX_FEE_MAX,
        facilitator=sandbox.facilitator,
        node=sandbox.reader,
        key=PrivateKey(bytes.fromhex(sandbox.till.secret_key)),
        sandbox=sandbox,
    )


def _opened(
    opening: Opening,
    *,
    network: TronNetwork,
    pay_to: str,
    fee_max: int,
    facilitator: TronFacilitator,
    node: TronNode,
    key: PrivateKey | None,
    sandbox: SandboxTronNetwork | None = None,
) -> Opened:
    clock = opening.clock
    chain = TronChain(node, network)
    desk = PermitDesk(rail=NAME, network=network, facilitator=facilitator, chain=chain, clock=clock)
    permits = Permits(seed=opening.seed, network=network, clock=clock)
    quotes = Quotes(
        rail=NAME, network=network, facilitator=facilitator, clock=clock, fee_max=fee_max
    )
    rail = TronRail(
        pay_to=pay_to,
        network=network,
        facilitator=facilitator,
        chain=chain,
        desk=desk,
        permits=permits,
        quotes=quotes,
        clock=clock,
    )
    payout = None
    if key is not None:
        payout = TronPayout(
            key=key, network=network, chain=chain, desk=desk, permits=permits, quotes=quotes
        )
    return Opened(
        rail=rail,
        pay_to=pay_to,
        health=Health(
            clock,
            lambda: node_problem(chain, clock),
            lambda: carrier_problem(facilitator, network),
        ).problem,
        payout=payout,
        sandbox=sandbox,
    )


def _private_key(path: Path) -> PrivateKey:
    text = _secret(path).removeprefix("0x")
    try:
        return PrivateKey(bytes.fromhex(text))
    except ValueError:
        msg = f"{path} must hold a TRON private key: 64 hex digits"
        raise KeyFileError(msg) from None


def _secret(path: Path | None) -> str:
    """The one line of a file that only its owner may read; empty without a file."""
    if path is None:
        return ""
    text = read_private(path, "a key")
    if not text or len(text.split()) != 1 or len(text) > _KEY_LENGTH_MAX:
        msg = f"{path} must hold one key and nothing else"
        raise KeyFileError(msg)
    return text
