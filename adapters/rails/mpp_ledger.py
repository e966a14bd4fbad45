"""How a transfer on Tempo is carried out and looked up, whoever signed it."""

from __future__ import annotations

import logging

from adapters.rails.mpp_node import TempoNode
from adapters.rails.mpp_transfer import TempoTransfer
from domain.ports.clock import Clock
from domain.ports.payments import Absent, Proof, Rejected, Settled, Uncertain

_log = logging.getLogger(__name__)

# Chain time past the deadline before we believe that nothing can land: nodes that are behind.
_FINAL_S = 60
_OVER = "the transaction failed on the chain, or its time passed before it was in a block"


class TempoLedger:
    """Sends signed transfers and reads what became of them; the receipt has the last word."""

    def __init__(
        self,
        node: TempoNode,
        clock: Clock,
        *,
        rail: str,
        chain_id: int,
        settle_timeout_ms: int = 20_000,
        confirm_wait_ms: int = 500,
        confirm_tries: int = 8,
    ) -> None:
        self._node = node
        self._clock = clock
        self._rail = rail
        self._chain_id = chain_id
        self._chain_checked = False
        self._settle_timeout_ms = settle_timeout_ms
        self._confirm_wait_ms = confirm_wait_ms
        self._confirm_tries = confirm_tries

    async def settle(self, proof: Proof) -> Settled | Rejected | Uncertain:
        """Send it, unless its payer did, and read until the chain shows what became of it."""
        transfer = TempoTransfer.of(proof)
        refusal = ""
        if transfer.raw:
            refusal = await self._node.send(transfer.raw, timeout_ms=self._settle_timeout_ms)
        tries = 1 if refusal else self._confirm_tries
        for attempt in range(tries):
            if attempt:
                await self._clock.sleep_until(self._clock.now_ms() + self._confirm_wait_ms)
            found = await self.lookup(proof)
            if isinstance(found, Settled):
                return found
            if isinstance(found, Absent) and found.final:
                return Rejected(_OVER)
        if refusal and isinstance(found, Absent):
            return Rejected(refusal)
        return Uncertain(transfer.hash)

    async def lookup(self, proof: Proof) -> Settled | Absent | Uncertain:
        transfer = TempoTransfer.of(proof)
        try:
            return await self.read(transfer, proof)
        except ConnectionError as error:
            _log.warning(
                "chain not read", extra={"rail": self._rail, "failure": type(error).__name__}
            )
            return Uncertain(transfer.hash)

    async def read(self, transfer: TempoTransfer, proof: Proof) -> Settled | Absent | Uncertain:
        """As `lookup`; ConnectionError where the chain cannot be read, or is another than ours."""
        await self._check_chain()
        # The time first: what is in no block that is later than its time is in none.
        time_s = await self._node.time_s()
        receipt = await self._node.receipt(transfer.hash)
        if receipt is not None:
            if transfer.is_in(receipt):
                return Settled(reference=transfer.hash, payer=transfer.payer, amount=proof.amount)
            return Absent(final=True)
        if not transfer.raw:
            # It was on the chain when it was shown to us: this node is behind.
            return Uncertain(transfer.hash)
        return Absent(final=time_s > transfer.valid_before_s + _FINAL_S)

    async def _check_chain(self) -> None:
        """Ask once: on another chain every payment would look unsent, and be given up."""
        if self._chain_checked:
            return
        found = await self._node.chain_id()
        if found != self._chain_id:
            msg = f"the node is of chain {found}, and we are paid on chain {self._chain_id}"
            raise ConnectionError(msg)
        self._chain_checked = True
