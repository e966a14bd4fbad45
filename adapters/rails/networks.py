"""The networks that we are paid on by x402, and the dollar token of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Named(Protocol):
    """A network's two names: CAIP-2, and what x402 version 1 calls it."""

    @property
    def caip2(self) -> str: ...

    @property
    def legacy(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseNetwork:
    """A network as x402 names it (`caip2`, and `legacy` in version 1) and its USDC.

    `domain_name` and `domain_version` are what wallets sign for (EIP-712). The token counts in
    millionths of a dollar: one base unit is one microcredit.
    """

    caip2: str
    legacy: str
    chain_id: int
    usdc: str
    domain_name: str
    domain_version: str


BASE = BaseNetwork(
    caip2="eip155:8453",
    legacy="base",
    chain_id=8453,
    usdc="0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913",
    domain_name="USD Coin",
    domain_version="2",
)
BASE_SEPOLIA = BaseNetwork(
    caip2="eip155:84532",
    legacy="base-sepolia",
    chain_id=84532,
    usdc="0x036CbD53842c5426634e7929541eC2318f3dCF7e",
    domain_name="USDC",
    domain_version="2",
)
BASE_NETWORKS = {network.legacy: network for network in (BASE, BASE_SEPOLIA)}


@dataclass(frozen=True, slots=True, kw_only=True)
class SolanaNetwork:
    """A Solana cluster and its USDC; `caip2` ends in the first 32 letters of its genesis hash."""

    caip2: str
    legacy: str
    usdc: str

    @property
    def genesis(self) -> str:
        return self.caip2.removeprefix("solana:")


SOLANA = SolanaNetwork(
    caip2="solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
    legacy="solana",
    usdc="EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",
)
SOLANA_DEVNET = SolanaNetwork(
    caip2="solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1",
    legacy="solana-devnet",
    usdc="4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU",
)
SOLANA_NETWORKS = {"mainnet": SOLANA, "devnet": SOLANA_DEVNET}
