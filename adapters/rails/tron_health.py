"""What is wrong with payments on TRON: the node's part and the facilitator's."""

from __future__ import annotations

from adapters.rails.tron_chain import TronChain
from adapters.rails.tron_facilitator import TronFacilitator
from adapters.rails.tron_networks import TronNetwork
from adapters.rails.tron_terms import SCHEME
from domain.ports.clock import Clock

# TRON has a block every three seconds.
_HEAD_AGE_MAX_S = 120


async def node_problem(chain: TronChain, clock: Clock) -> str:
    """Nothing where the node is of our network, tells events and keeps up."""
    try:
        await chain.check_network()
        head = await chain.head()
    except ConnectionError as error:
        return str(error)
    age_s = (clock.now_ms() - head.time_ms) // 1000
    return f"the node's newest block is {age_s} seconds old" if age_s > _HEAD_AGE_MAX_S else ""


async def carrier_problem(facilitator: TronFacilitator, network: TronNetwork) -> str:
    """Nothing where the facilitator answers and carries permits on our network."""
    try:
        supported = await facilitator.supported()
    except Exception as error:  # noqa: BLE001 (a facilitator may fail in any way)
        return f"the facilitator gave no answer ({type(error).__name__})"
    named = {(kind.scheme, kind.network) for kind in supported.kinds}
    if (SCHEME, network.name) not in named:
        return f"the facilitator does not carry {SCHEME} on {network.name}"
    return ""
