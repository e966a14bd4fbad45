"""Dollars on Tempo by MPP: a real network's node, or a chain of our own where there is anvil."""

from __future__ import annotations

import logging
from pathlib import Path

from adapters.bootstrap.money.base import evm_key
from adapters.bootstrap.money.health import Health
from adapters.bootstrap.money.parts import Opened, Opening
from adapters.rails.mpp import MppRail
from adapters.rails.mpp_networks import TEMPO, TEMPO_NETWORKS, TempoNetwork
from adapters.rails.mpp_node import TempoNode, TempoRpc
from adapters.rails.mpp_payout import TempoPayouts
from adapters.sandbox.anvil import AnvilError, find_anvil
from adapters.sandbox.tempo import TempoSandbox
from adapters.sandbox.wallets import sandbox_wallet
from adapters.store.exclusive import slot, turn
from adapters.tempo_settings import TempoSettings
from domain.ports.clock import Clock

_SANDBOX_FUNDS = 1_000_000_000
# Tempo mines blocks twice a second.
_HEAD_AGE_MAX_S = 60

log = logging.getLogger(__name__)


async def open_tempo(opening: Opening, settings: TempoSettings | None) -> Opened | None:
    """The rail of Tempo; None where nobody is to be paid there, or the sandbox has no anvil.

    KeyFileError where the key that pays back cannot be used. A node that is away does not keep us
    from starting: the rail is down until it is back.
    """
    if settings is None:
        return None
    if opening.settings.sandbox:
        return await _play_money(opening, settings)
    network, clock = TEMPO_NETWORKS[settings.network], opening.clock
    payout_key = evm_key(settings.refund_key_file) if settings.refund_key_file else None
    rpc = TempoRpc(settings.rpc_url)
    opening.stack.push_async_callback(rpc.aclose)
    rail = MppRail(
        pay_to=settings.pay_to,
        network=network,
        rpc=rpc,
        clock=clock,
        seed=opening.seed,
        lifetime_ms=settings.lifetime_ms,
    )
    payout = None
    if payout_key is not None:
        secret_key = "0x" + bytes(payout_key.key).hex()
        payout = TempoPayouts(secret_key=secret_key, network=network, rpc=rpc, clock=clock)
    return Opened(
        rail=rail,
        pay_to=settings.pay_to,
        health=Health(clock, lambda: _node_problem(TempoNode(rpc), network, clock)).problem,
        payout=payout,
    )


async def _node_problem(node: TempoNode, network: TempoNetwork, clock: Clock) -> str:
    try:
        chain_id = await node.chain_id()
        age_s = clock.now_ms() // 1000 - await node.time_s()
    except ConnectionError as error:
        return str(error)
    if chain_id != network.chain_id:
        return f"the node is of chain {chain_id}, not {network.chain_id}"
    return f"the node's newest block is {age_s} seconds old" if age_s > _HEAD_AGE_MAX_S else ""


async def _play_money(opening: Opening, settings: TempoSettings) -> Opened | None:
    """Each process has a chain of its own, in the first file that no other writes to."""
    binary = find_anvil()
    if binary is None:
        log.info("no anvil on PATH: this sandbox has no Tempo")
        return None
    data, clock = opening.settings.storage.data, opening.clock
    with turn(data):
        till = sandbox_wallet(data / "sandbox-gateway.key")
        wallet = sandbox_wallet(data / "sandbox-customer.key")
    try:
        chain = await opening.stack.enter_async_context(
            TempoSandbox.started(
                binary,
                clock,
                opening.faults,
                pay_to=till.address,
                wallet=wallet,
                state=_state_file(opening),
            )
        )
    except AnvilError as error:
        log.warning("the sandbox's Tempo did not start", extra={"failure": str(error)})
        return None
    if await chain.balance(wallet.address) == 0:
        await chain.fund(wallet.address, _SANDBOX_FUNDS)
    rail = MppRail(
        pay_to=till.address,
        network=TEMPO,
        rpc=chain,
        clock=clock,
        seed=opening.seed,
        lifetime_ms=settings.lifetime_ms,
    )
    return Opened(
        rail=rail,
        pay_to=till.address,
        health=lambda: _node_problem(TempoNode(chain), TEMPO, clock),
        payout=TempoPayouts(secret_key=till.secret_key, network=TEMPO, rpc=chain, clock=clock),
        sandbox=chain,
    )


def _state_file(opening: Opening) -> Path:
    folder = opening.settings.storage.data / "tempo"
    number = opening.stack.enter_context(slot(folder))
    return folder / f"chain-{number}.state"
