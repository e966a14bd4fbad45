"""The Tempo networks that we are paid on by MPP, and the dollar token of each."""

from __future__ import annotations

from dataclasses import dataclass

from mpp.methods.tempo._defaults import CHAIN_ID, PATH_USD, TESTNET_CHAIN_ID, USDC


@dataclass(frozen=True, slots=True, kw_only=True)
class TempoNetwork:
    """A network and its dollars: `token` counts in millionths, one base unit is a microcredit."""

    name: str
    chain_id: int
    token: str

    @property
    def caip2(self) -> str:
        return f"eip155:{self.chain_id}"


TEMPO = TempoNetwork(name="tempo", chain_id=CHAIN_ID, token=USDC)
# The test network has no USDC; pathUSD is what its faucet gives.
MODERATO = TempoNetwork(name="tempo-moderato", chain_id=TESTNET_CHAIN_ID, token=PATH_USD)
TEMPO_NETWORKS = {"mainnet": TEMPO, "moderato": MODERATO}
