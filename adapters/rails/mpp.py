"""Dollars on Tempo by the machine payments protocol: a challenge, a signed transfer, its receipt.

The library issues the challenges and judges the credentials. It is never asked to settle, so it
keeps no record of what was used: that is the ledger's claim, which is unique and outlives us.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from eth_utils.address import is_address, to_checksum_address
from mpp import Credential
from mpp import Receipt as MppReceipt
from mpp._did import parse_pkh_source
from mpp.errors import PaymentError
from mpp.methods.tempo import ChargeIntent
from mpp.methods.tempo.attribution import verify_challenge_binding, verify_server

from adapters.rails.mpp_ledger import TempoLedger
from adapters.rails.mpp_networks import TempoNetwork
from adapters.rails.mpp_node import MemoTransfer, TempoNode, TempoReceipt
from adapters.rails.mpp_offers import (
    EXPIRED,
    NO_PAYMENT,
    POOR,
    TOO_LATE,
    Offers,
    Presented,
    payment_in,
    refused,
)
from adapters.rails.mpp_transfer import SignedTransaction, TempoTransfer, read_signed
from adapters.rails.rpc import Rpc
from domain.errors import PaymentRefusedError, PaymentUncertainError, RailDownError
from domain.ports.clock import Clock
from domain.ports.payments import (
    Absent,
    Challenge,
    Outcome,
    PaymentRail,
    Proof,
    Purchase,
    Receipt,
    Rejected,
    Settled,
    Uncertain,
)

_log = logging.getLogger(__name__)

LIFETIME_MS = 5 * 60_000
# How far beyond the challenge a transaction may stay good: what the chain allows of its own nonces.
_AHEAD_S_MAX = 300
# How often we look for a transaction that its payer says was sent, before we say that it was not.
_SHOWN_TRIES_MAX = 4
_HASH = re.compile(r"0x[0-9a-f]{64}")
# For the library, which would look at the machine's clock: the challenge's time is ours to judge.
_NEVER = "9999-01-01T00:00:00Z"


class MppRail:
    """Implements `PaymentRail` for one dollar token on Tempo.

    `pay_to` must belong to this ledger alone: whoever else credits transfers to it would credit
    the same payments again. `seed` makes the challenges; equal seeds know each other's.
    """

    def __init__(
        self,
        *,
        pay_to: str,
        network: TempoNetwork,
        rpc: Rpc,
        clock: Clock,
        seed: bytes,
        name: str = "mpp-tempo",
        lifetime_ms: int = LIFETIME_MS,
        settle_timeout_ms: int = 20_000,
        confirm_wait_ms: int = 500,
        confirm_tries: int = 8,
    ) -> None:
        if not is_address(pay_to):
            msg = f"pay_to: expected a 0x address (got {pay_to!r})"
            raise ValueError(msg)
        self.name = name
        self.protocol = "mpp"
        self.networks: tuple[str, ...] = (network.caip2, network.name)
        self._network = network
        self._pay_to = to_checksum_address(pay_to)
        self._clock = clock
        self._node = TempoNode(rpc)
        self._ledger = TempoLedger(
            self._node,
            clock,
            rail=name,
            chain_id=network.chain_id,
            settle_timeout_ms=settle_timeout_ms,
            confirm_wait_ms=confirm_wait_ms,
            confirm_tries=confirm_tries,
        )
        self._offers = Offers(
            pay_to=self._pay_to, network=network, seed=seed, lifetime_ms=lifetime_ms
        )
        # It checks credentials and asks no node; without a store it remembers none.
        self._judge = ChargeIntent()
        self._confirm_wait_ms = confirm_wait_ms
        self._confirm_tries = confirm_tries
        self._ready = False
        self._starting = asyncio.Lock()

    def serves(self, chain: str) -> bool:
        return chain == "evm"

    async def challenge(
        self,
        purchase: Purchase,
        *,
        refusal: PaymentRefusedError | None = None,
        beside: Sequence[PaymentRail] = (),
    ) -> Challenge:
        await self._start()
        _, terms = await self._offers.issue(purchase, now_ms=self._clock.now_ms())
        return terms if refusal is None else refused(terms, refusal.reason)

    async def decode(self, headers: dict[str, str], purchase: Purchase) -> Proof | None:
        header = payment_in(headers)
        if header is None:
            return None
        try:
            shown = await self._offers.answered(header, purchase, now_ms=self._clock.now_ms())
            transfer = await self._transfer(shown, purchase)
        except ValueError as error:
            raise PaymentRefusedError(rail=self.name, reason=str(error)) from error
        return Proof(
            key=transfer.key(self._network.caip2),
            network=self._network.caip2,
            chain="evm",
            payer=transfer.payer,
            amount=purchase.amount,
            expires_at_ms=transfer.valid_before_s * 1000,
            payload=transfer.text(),
            paid=not transfer.raw,
        )

    async def verify(self, proof: Proof, purchase: Purchase) -> None:
        transfer = TempoTransfer.of(proof)
        if not transfer.raw:
            # It was read from the chain a moment ago; that its challenge is old takes nothing back.
            return
        await self._start()
        try:
            time_s = await self._node.time_s()
            found = await self._ledger.read(transfer, proof)
            poor = await self._is_poor(transfer)
        except ConnectionError as error:
            raise self._down("payment not verified", error) from error
        now_ms = self._clock.now_ms()
        if now_ms >= transfer.offered_until_ms:
            self._refuse(EXPIRED)
        if max(time_s, now_ms // 1000) >= transfer.valid_before_s:
            self._refuse(TOO_LATE)
        if isinstance(found, Settled):
            # Its payer sent it as well as showing it to us.
            return
        if isinstance(found, Absent) and found.final:
            self._refuse("the transaction failed on the chain")
        if poor:
            self._refuse(POOR)

    async def settle(self, proof: Proof) -> Settled | Rejected | Uncertain:
        return await self._ledger.settle(proof)

    async def lookup(self, proof: Proof) -> Settled | Absent | Uncertain:
        return await self._ledger.lookup(proof)

    def receipt(self, outcome: Outcome, purchase: Purchase) -> Receipt:
        if not outcome.success or outcome.at_ms is None:
            # The protocol has receipts of payments that were made, and of no others.
            return Receipt(headers={"Cache-Control": "no-store"})
        made = MppReceipt.success(
            outcome.reference, timestamp=datetime.fromtimestamp(outcome.at_ms / 1000, UTC)
        )
        return Receipt(
            headers={"Payment-Receipt": made.to_payment_receipt(), "Cache-Control": "private"}
        )

    async def _start(self) -> None:
        """Ask the node once which chain it is; until it says ours, the rail is down."""
        async with self._starting:
            if self._ready:
                return
            try:
                found = await self._node.chain_id()
            except ConnectionError as error:
                raise self._down("node not reached", error) from error
            if found != self._network.chain_id:
                _log.error("node is of another chain", extra={"rail": self.name, "chain": found})
                raise RailDownError(rail=self.name)
            self._ready = True

    async def _transfer(self, shown: Presented, purchase: Purchase) -> TempoTransfer:
        payload: object = shown.credential.payload
        match payload:
            case {"type": "transaction", "signature": str(raw)}:
                return await self._signed(shown, raw, purchase)
            case {"type": "hash", "hash": str(found)} if _HASH.fullmatch(found.lower()):
                return await self._sent(shown, found.lower(), purchase)
        raise ValueError(NO_PAYMENT)

    async def _signed(self, shown: Presented, raw: str, purchase: Purchase) -> TempoTransfer:
        """A transaction that we are to send: who signed it, and that it moves what it must."""
        credential = shown.credential
        ageless = replace(credential, challenge=replace(credential.challenge, expires=_NEVER))
        payer = await self._judged(ageless, shown.request)
        signed = read_signed(raw)
        _check_window(signed, shown)
        return TempoTransfer(
            hash=signed.hash,
            payer=payer,
            pay_to=self._pay_to.lower(),
            token=self._network.token.lower(),
            amount=purchase.amount.value,
            memo=signed.memo,
            valid_before_s=signed.valid_before_s,
            offered_until_ms=shown.expires_at_ms,
            raw=signed.raw,
            fee_token=signed.fee_token,
            fee_max=signed.fee_max,
            swaps=signed.swaps,
        )

    async def _judged(self, credential: Credential, request: dict[str, object]) -> str:
        try:
            judged = await self._judge.validate(credential, request)
        except PaymentError as error:
            raise ValueError(str(error)) from error
        except Exception as error:  # A stranger's bytes may break the library in any way.
            raise ValueError(NO_PAYMENT) from error
        if judged.payer is None:
            raise ValueError("the transaction does not say who signed it")
        return judged.payer

    async def _sent(self, shown: Presented, found: str, purchase: Purchase) -> TempoTransfer:
        """A transaction that its payer sent: what the chain shows of it."""
        receipt = await self._awaited(found, shown)
        if not receipt.succeeded:
            raise ValueError("the transaction failed on the chain")
        echo, source = shown.credential.challenge, shown.credential.source
        sender = _account_of(source, self._network) if source is not None else None
        for made in receipt.transfers:
            if (
                (made.token, made.pay_to) == (self._network.token.lower(), self._pay_to.lower())
                and made.amount == purchase.amount.value
                and verify_server(made.memo, echo.realm)
                and verify_challenge_binding(made.memo, echo.id)
                and sender in (None, made.payer)
            ):
                return _moved(made, found, shown)
        raise ValueError("the transaction has no transfer that answers this challenge")

    async def _awaited(self, found: str, shown: Presented) -> TempoReceipt:
        """The receipt; a node may show it a moment later than the payer's did.

        While it may yet appear there is no refusal: the payer says that it has paid, and a
        challenge then would ask for the money twice.
        """
        for attempt in range(min(self._confirm_tries, _SHOWN_TRIES_MAX)):
            if attempt:
                await self._clock.sleep_until(self._clock.now_ms() + self._confirm_wait_ms)
            try:
                receipt = await self._node.receipt(found)
            except ConnectionError as error:
                self._warn("payment not read", error)
                raise PaymentUncertainError(rail=self.name, reference=found) from error
            if receipt is not None:
                return receipt
        if self._clock.now_ms() < shown.expires_at_ms + _AHEAD_S_MAX * 1000:
            raise PaymentUncertainError(rail=self.name, reference=found)
        raise ValueError("the chain does not know this transaction; send it, and show it again")

    async def _is_poor(self, transfer: TempoTransfer) -> bool:
        """Whether the wallet lacks what is to be paid or, where it says in what, the fee.

        The chain wants the highest fee in the wallet before it starts, whatever it then takes.
        """
        needed = {transfer.token: 0 if transfer.swaps else transfer.amount}
        if transfer.fee_token:
            needed[transfer.fee_token] = needed.get(transfer.fee_token, 0) + transfer.fee_max
        for token, amount in needed.items():
            if amount and await self._node.balance(token, transfer.payer) < amount:
                return True
        return False

    def _refuse(self, reason: str) -> None:
        raise PaymentRefusedError(rail=self.name, reason=reason)

    def _down(self, message: str, error: Exception) -> RailDownError:
        self._warn(message, error)
        return RailDownError(rail=self.name)

    def _warn(self, message: str, error: Exception) -> None:
        _log.warning(message, extra={"rail": self.name, "failure": type(error).__name__})


def _moved(made: MemoTransfer, found: str, shown: Presented) -> TempoTransfer:
    return TempoTransfer(
        hash=found,
        payer=made.payer,
        pay_to=made.pay_to,
        token=made.token,
        amount=made.amount,
        memo=made.memo,
        valid_before_s=shown.expires_at_ms // 1000,
        offered_until_ms=shown.expires_at_ms,
    )


def _check_window(signed: SignedTransaction, shown: Presented) -> None:
    """Without an end it could land at any later time, and would never be over for us."""
    if not 0 < signed.valid_before_s <= shown.expires_at_ms // 1000 + _AHEAD_S_MAX:
        msg = (
            f"the transaction must end (valid-before) {_AHEAD_S_MAX} s after its challenge at most"
        )
        raise ValueError(msg)


def _account_of(source: str, network: TempoNetwork) -> str:
    named = parse_pkh_source(source)
    if named is None or named.chain_id != network.chain_id:
        raise ValueError("the credential's source is no account on this chain")
    return named.address.lower()
