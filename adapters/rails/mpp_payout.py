"""How dollars go back on Tempo: a transfer that we sign, with the refund's id in its memo."""

from __future__ import annotations

import logging

from eth_account import Account
from pytempo import Call, TempoTransaction  # type: ignore[import-untyped]  # ships no types

from adapters.rails.mpp_ledger import TempoLedger
from adapters.rails.mpp_networks import TempoNetwork
from adapters.rails.mpp_node import TempoNode
from adapters.rails.mpp_transfer import TempoTransfer, read_signed
from adapters.rails.rpc import Rpc
from domain.errors import RailDownError
from domain.money import Microcredits
from domain.ports.clock import Clock
from domain.ports.payments import Absent, Payout, Proof, Rejected, Settled, Uncertain

_log = logging.getLogger(__name__)

# A nonce key whose nonces the chain forgets; instead it keeps each transaction until its time.
_EXPIRING = 2**256 - 1
# Within the 30 s that the chain's older rules allow of such a transaction.
_WINDOW_S = 25
_GAS_MAX = 1_000_000
_MEMO_LABEL = b"payphone refund:"


class TempoPayouts:
    """Implements `PayoutRail` with the wallet of one key; fees are paid in the same dollars."""

    def __init__(
        self,
        *,
        secret_key: str,
        network: TempoNetwork,
        rpc: Rpc,
        clock: Clock,
        name: str = "mpp-tempo",
        settle_timeout_ms: int = 20_000,
    ) -> None:
        self.name = name
        self._key = secret_key
        self.wallet = Account.from_key(secret_key).address.lower()
        self._network = network
        self._node = TempoNode(rpc)
        self._ledger = TempoLedger(
            self._node,
            clock,
            rail=name,
            chain_id=network.chain_id,
            settle_timeout_ms=settle_timeout_ms,
        )

    async def funds(self) -> Microcredits:
        try:
            return Microcredits(await self._node.balance(self._network.token, self.wallet))
        except ConnectionError as error:
            raise self._down(error) from error

    async def prepare(self, payout: Payout) -> Proof:
        """Sign a transfer that is good for some seconds of the chain's time."""
        try:
            chain_id = await self._node.chain_id()
            price = await self._node.gas_price()
            time_s = await self._node.time_s()
        except ConnectionError as error:
            raise self._down(error) from error
        if chain_id != self._network.chain_id:
            _log.error("node is of another chain", extra={"rail": self.name, "chain": chain_id})
            raise RailDownError(rail=self.name)
        memo = "0x" + (_MEMO_LABEL + payout.refund_id.bytes).hex()
        valid_before_s = time_s + _WINDOW_S
        token = self._network.token.lower()
        transaction = TempoTransaction.create(
            chain_id=chain_id,
            gas_limit=_GAS_MAX,
            max_fee_per_gas=2 * price,
            max_priority_fee_per_gas=price,
            nonce=0,
            nonce_key=_EXPIRING,
            fee_token=token,
            valid_before=valid_before_s,
            calls=(Call.create(to=token, data=_words(payout.wallet, payout.amount, memo)),),
        )
        signed = read_signed("0x" + transaction.sign(self._key).encode().hex())
        transfer = TempoTransfer(
            hash=signed.hash,
            payer=self.wallet,
            pay_to=payout.wallet.lower(),
            token=token,
            amount=payout.amount.value,
            memo=memo,
            valid_before_s=valid_before_s,
            offered_until_ms=valid_before_s * 1000,
            raw=signed.raw,
            fee_token=signed.fee_token,
            fee_max=signed.fee_max,
        )
        return Proof(
            key=transfer.key(self._network.caip2),
            network=self._network.caip2,
            chain="evm",
            payer=self.wallet,
            amount=payout.amount,
            expires_at_ms=valid_before_s * 1000,
            payload=transfer.text(),
        )

    async def settle(self, proof: Proof) -> Settled | Rejected | Uncertain:
        return await self._ledger.settle(proof)

    async def lookup(self, proof: Proof) -> Settled | Absent | Uncertain:
        return await self._ledger.lookup(proof)

    def _down(self, error: Exception) -> RailDownError:
        _log.warning(
            "payout not prepared", extra={"rail": self.name, "failure": type(error).__name__}
        )
        return RailDownError(rail=self.name)


def _words(wallet: str, amount: Microcredits, memo: str) -> str:
    """The call data of `transferWithMemo(address,uint256,bytes32)`."""
    to = wallet.lower().removeprefix("0x").rjust(64, "0")
    return f"0x95777d59{to}{amount.value:064x}{memo.removeprefix('0x')}"
