"""Solana as play money: a node for clients, a wallet to pay with, dollars for whoever asks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web
from solders.pubkey import Pubkey

from adapters.sandbox.solana import SolanaChain
from adapters.sandbox.solana_rpc import SolanaNode
from adapters.sandbox.wallets import ThrowawayWallet


class SandboxSolana:
    """Implements `SandboxNetwork` over the cluster in the process."""

    name = "solana"
    chain = "solana"

    def __init__(
        self,
        chain: SolanaChain,
        node: SolanaNode,
        *,
        networks: tuple[str, ...],
        pay_to: str,
        wallet: ThrowawayWallet,
    ) -> None:
        self.networks = networks
        self.pay_to = pay_to
        self.wallet = wallet
        self._chain = chain
        self.node: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = node.respond

    async def fund(self, address: str, amount: int) -> str:
        """Mint dollars, with an account for them and lamports; returns the transaction."""
        _check_address(address)
        if not 0 < amount < 2**63:
            msg = f"expected a positive amount (got {amount})"
            raise ValueError(msg)
        # In a thread: it waits for the disk.
        return await asyncio.to_thread(self._chain.fund, address, amount)

    async def balance(self, address: str) -> int:
        _check_address(address)
        return self._chain.balance(address)


def _check_address(text: str) -> None:
    try:
        Pubkey.from_string(text)
    except ValueError:
        msg = f"expected a Solana address (got {text[:80]!r})"
        raise ValueError(msg) from None
