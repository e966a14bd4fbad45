"""Base as play money: its node for clients, a wallet to pay with, and dollars for whoever asks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web
from eth_utils.address import is_address, to_checksum_address

from adapters.sandbox.evm import SandboxChain
from adapters.sandbox.rpc import SandboxNode, answer_post
from adapters.sandbox.wallets import ThrowawayWallet

_GAS_WEI = 10**17


class SandboxBase:
    """Implements `SandboxNetwork` over the chain in the process."""

    name = "base"
    chain = "evm"

    def __init__(
        self,
        chain: SandboxChain,
        node: SandboxNode,
        *,
        networks: tuple[str, ...],
        pay_to: str,
        wallet: ThrowawayWallet,
    ) -> None:
        self.networks = networks
        self.pay_to = pay_to
        self.wallet = wallet
        self._chain = chain
        self._rpc = node
        self.node: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = self._answer

    async def fund(self, address: str, amount: int) -> str:
        """Mint dollars, and give gas to whoever has none; returns the minting transaction."""
        holder = _address(address)
        if amount <= 0:
            msg = f"expected a positive amount (got {amount})"
            raise ValueError(msg)
        # In a thread: each transaction waits for the disk.
        if self._chain.balance_wei(holder) < _GAS_WEI:
            await asyncio.to_thread(self._chain.fund_gas, holder)
        return await asyncio.to_thread(self._chain.mint, holder, amount)

    async def balance(self, address: str) -> int:
        return self._chain.balance(_address(address))

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        """Ethereum JSON-RPC by POST."""
        if request.method != "POST":
            raise web.HTTPMethodNotAllowed(request.method, ["POST"])
        return await answer_post(self._rpc, request)


def _address(text: str) -> str:
    if not is_address(text):
        msg = f"expected a 0x address (got {text[:80]!r})"
        raise ValueError(msg)
    return to_checksum_address(text)
