"""Dollars on Solana by x402: a transaction signed by half, a facilitator to pay for its way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from x402.mechanisms.svm.constants import ERR_FEE_PAYER_NOT_MANAGED, ERR_SIMULATION_FAILED
from x402.schemas import (
    PaymentPayload,
    PaymentRequirements,
    SettleResponse,
    SupportedResponse,
    VerifyResponse,
)

from adapters.rails import wire
from adapters.rails.facilitator import Facilitator
from adapters.rails.networks import SolanaNetwork
from adapters.rails.offers import OfferSigner
from adapters.rails.solana_chain import Paid, SolanaReader, Spoiled
from adapters.rails.solana_terms import SCHEME, SolanaTerms
from adapters.rails.solana_transfer import SolanaTransfer
from adapters.rails.x402_challenge import Asked, challenge, receipt
from domain.errors import PaymentRefusedError, PaymentUncertainError, RailDownError
from domain.money import Microcredits
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

_VERSION = 2
# A blockhash is good for 150 blocks: a minute as a rule, and less than this on a slow day.
LIFETIME_MS = 120_000
# Beyond that, before we believe what the chain says of an end: nodes are late, and not all alike.
_FINAL_MS = 60_000
# How long before we saw it a payment can have landed, wrong clocks and long repeats included.
_SINCE_MS = 24 * 60 * 60 * 1000
# A signature is shorter; a facilitator could say anything.
_REFERENCE_MAX = 100
_LANDED = "AlreadyProcessed"
_TOO_LITTLE = {"InstructionError": [2, {"Custom": 1}]}
_EXPIRED = "BlockhashNotFound"
# The fee payer's trouble, not the customer's.
_NO_GAS = ("AccountNotFound", "InsufficientFundsForFee", "InsufficientFundsForRent")
_PLAIN = {_EXPIRED: "the payment has expired", _LANDED: "this payment was already used"}
# A facilitator that gives one of these reasons has sent nothing.
_NOT_SENT = (
    "invalid_exact_svm",
    ERR_FEE_PAYER_NOT_MANAGED,
    "unsupported_scheme",
    "network_mismatch",
    ERR_SIMULATION_FAILED,
)


class SolanaRail:
    """Implements `PaymentRail` for USDC on Solana; the chain has the last word.

    `pay_to` must belong to this ledger alone: whoever else credits transfers to it would credit
    the same payments again.
    """

    def __init__(
        self,
        *,
        pay_to: str,
        network: SolanaNetwork,
        facilitator: Facilitator,
        chain: SolanaReader,
        clock: Clock,
        name: str = "x402-solana",
        signer: OfferSigner | None = None,
        settle_timeout_ms: int = 30_000,
        confirm_wait_ms: int = 500,
        confirm_tries: int = 8,
    ) -> None:
        self.name = name
        self.protocol = "x402"
        self.networks: tuple[str, ...] = (network.caip2, network.legacy)
        self._network = network
        self._terms = SolanaTerms(pay_to=pay_to, network=network)
        self._facilitator = facilitator
        self._chain = chain
        self._clock = clock
        self._signer = signer
        self._settle_timeout_ms = settle_timeout_ms
        self._confirm_wait_ms = confirm_wait_ms
        self._confirm_tries = confirm_tries
        self._fee_payers: tuple[str, ...] = ()
        self._chain_checked = False
        self._starting = asyncio.Lock()

    def serves(self, chain: str) -> bool:
        return chain == "solana"

    async def challenge(
        self,
        purchase: Purchase,
        *,
        refusal: PaymentRefusedError | None = None,
        beside: Sequence[PaymentRail] = (),
    ) -> Challenge:
        return await challenge(
            self,
            purchase,
            refusal=refusal,
            beside=beside,
            signer=self._signer,
            now_ms=self._clock.now_ms(),
        )

    async def asked(self, purchase: Purchase) -> Asked:
        fee_payer = await self.fee_payer()
        return Asked(self._terms.of(purchase, fee_payer=fee_payer), self._network)

    async def decode(self, headers: dict[str, str], purchase: Purchase) -> Proof | None:
        payment = wire.presented(headers)
        if payment is None:
            return None
        self._refuse(self._terms.mismatch_network(payment))
        transfer = SolanaTransfer.parse(payment.payload)
        # Whose fee payer that is matters when money is about to move; to recognise a payment it
        # does not, and facilitators change theirs.
        terms = self._terms.of(purchase, fee_payer=transfer.fee_payer)
        if isinstance(payment, PaymentPayload):
            self._refuse(self._terms.mismatch_v2(payment, terms))
        self._refuse(self._terms.mismatch_signed(transfer, terms))
        return self.proof_of(transfer, terms)

    def proof_of(self, transfer: SolanaTransfer, terms: PaymentRequirements) -> Proof:
        """The payment as we keep it: our own terms, the transaction, and nothing else."""
        kept = PaymentPayload(payload=transfer.wire(), accepted=terms)
        return Proof(
            key=transfer.key(network=terms.network),
            network=terms.network,
            chain="solana",
            payer=transfer.payer,
            amount=Microcredits(int(terms.amount)),
            expires_at_ms=self._clock.now_ms() + LIFETIME_MS,
            payload=kept.model_dump_json(by_alias=True, exclude_none=True),
        )

    async def verify(self, proof: Proof, purchase: Purchase) -> None:
        await self.fee_payer()
        payment, transfer = _kept(proof)
        if transfer.fee_payer not in self._fee_payers:
            self._refuse(f"its fee payer is {transfer.fee_payer}, who does not settle for us")
        try:
            answer, trouble = await asyncio.gather(
                self._facilitator.verify(payment, payment.accepted), self._chain.trial(transfer)
            )
            found = await self._find(proof) if trouble == _LANDED else None
        except Exception as error:  # A facilitator or node may fail in any way; nothing was sent.
            self._warn("payment not verified", error)
            raise RailDownError(rail=self.name) from error
        if isinstance(found, Paid):
            # Somebody else had it settled before us, and in time: it is paid, not used up.
            return
        if trouble == _LANDED and found is None:
            # It is on its way to being confirmed: whoever asks again in a moment is told.
            raise PaymentUncertainError(rail=self.name, reference="")
        if trouble is not None:
            self._refuse_trouble(trouble)
        self._check_answer(answer)

    async def settle(self, proof: Proof) -> Settled | Rejected | Uncertain:
        payment, transfer = _kept(proof)
        answer = await self._submit(payment)
        unsent = await self._unsent(answer, transfer)
        hint = answer.transaction[:_REFERENCE_MAX] if answer is not None else ""
        found: Settled | Absent | Uncertain = Uncertain(hint)
        for attempt in range(1 if unsent else self._confirm_tries):
            if attempt:
                await self._clock.sleep_until(self._clock.now_ms() + self._confirm_wait_ms)
            found = await self._look(proof, hint=hint)
            if isinstance(found, Settled):
                return found
            if isinstance(found, Absent) and found.final:
                return Rejected(unsent or "the transaction failed on the chain, or has expired")
        if unsent and isinstance(found, Absent):
            return Rejected(unsent)
        return Uncertain(hint)

    async def lookup(self, proof: Proof) -> Settled | Absent | Uncertain:
        return await self._look(proof, hint="")

    def receipt(self, outcome: Outcome, purchase: Purchase) -> Receipt:
        return receipt(
            outcome,
            purchase,
            self._network,
            payer=outcome.payer,
            asset=self._network.usdc,
            signer=self._signer,
        )

    async def fee_payer(self) -> str:
        """Who pays the network, by the facilitator's word; it is asked until it answers once.

        RailDownError until then, and until the chain shows an account to be paid at.
        """
        async with self._starting:
            if not self._fee_payers:
                self._fee_payers = await self._start()
            return self._fee_payers[0]

    async def _start(self) -> tuple[str, ...]:
        try:
            supported = await asyncio.to_thread(self._facilitator.get_supported)
            held = await self._chain.holding(self._terms.account)
        except Exception as error:  # A facilitator or node may fail in any way.
            self._warn("facilitator or node not reached", error)
            raise RailDownError(rail=self.name) from error
        fee_payers = _fee_payers(supported, self._network.caip2)
        if not fee_payers:
            _log.error("facilitator does not settle here", extra={"rail": self.name})
            raise RailDownError(rail=self.name)
        if held is None or (held.mint, held.owner) != (self._network.usdc, self._terms.pay_to):
            # Payments create no accounts, so every one of them would fail.
            _log.error(
                "there is no token account to be paid at",
                extra={"rail": self.name, "account": self._terms.account},
            )
            raise RailDownError(rail=self.name)
        return fee_payers

    async def _submit(self, payment: PaymentPayload) -> SettleResponse | None:
        """The facilitator's word, which is not the last; None where it gave none."""
        try:
            async with asyncio.timeout(self._settle_timeout_ms / 1000):
                return await self._facilitator.settle(payment, payment.accepted)
        except Exception as error:  # noqa: BLE001 (the chain says whether money moved)
            self._warn("settlement without an answer", error)
            return None

    async def _unsent(self, answer: SettleResponse | None, transfer: SolanaTransfer) -> str:
        """Why nothing was sent, in plain words; "" where it was, or may have been."""
        reason = (answer.error_reason or "") if answer is not None else ""
        if answer is None or answer.success or not reason.startswith(_NOT_SENT):
            return ""
        if reason != ERR_SIMULATION_FAILED:
            return _quoted(reason)
        # All it says is that the chain would refuse it; the chain says why. A copy that has landed
        # is one of the reasons.
        try:
            trouble = await self._chain.trial(transfer)
        except ConnectionError as error:
            self._warn("chain not read", error)
            return ""
        return "" if trouble in (None, _LANDED) else _plain(trouble)

    async def _look(self, proof: Proof, *, hint: str) -> Settled | Absent | Uncertain:
        _, transfer = _kept(proof)
        try:
            # In this order: what had not landed when it was over never will.
            late = self._clock.now_ms() > proof.expires_at_ms + _FINAL_MS
            over_at = await self._over_at(transfer) if late else None
            found = await self._find(proof, hint=hint, seen_slot=over_at or 0)
        except ConnectionError as error:
            self._warn("chain not read", error)
            return Uncertain(hint)
        match found:
            case Paid(transaction=transaction):
                return Settled(reference=transaction, payer=proof.payer, amount=proof.amount)
            case Spoiled():
                return Absent(final=True)
            case None:
                return Absent(final=over_at is not None)

    async def _over_at(self, transfer: SolanaTransfer) -> int | None:
        """As the chain says it, once it has said that it is ours.

        On another one every payment would look over, and be given up.
        """
        if not self._chain_checked:
            genesis = await self._chain.genesis()
            if not genesis.startswith(self._network.genesis):
                msg = f"the node is of another chain than {self._network.caip2}"
                raise ConnectionError(msg)
            self._chain_checked = True
        return await self._chain.over_at(transfer.blockhash)

    async def _find(
        self, proof: Proof, *, hint: str = "", seen_slot: int = 0
    ) -> Paid | Spoiled | None:
        _, transfer = _kept(proof)
        since_ms = proof.expires_at_ms - LIFETIME_MS - _SINCE_MS
        return await self._chain.find(
            transfer, since_s=since_ms // 1000, hint=hint, seen_slot=seen_slot
        )

    def _refuse(self, reason: str | None) -> None:
        if reason is not None:
            raise PaymentRefusedError(rail=self.name, reason=reason)

    def _refuse_trouble(self, trouble: object) -> None:
        kind = next(iter(trouble), "") if isinstance(trouble, dict) else trouble
        if kind in _NO_GAS:
            _log.error("the fee payer cannot pay", extra={"rail": self.name, "reason": str(kind)})
            raise RailDownError(rail=self.name)
        self._refuse(_plain(trouble))

    def _check_answer(self, answer: VerifyResponse) -> None:
        if answer.is_valid:
            return
        # Of a simulation that failed the message is the only detail.
        said = {"reason": answer.invalid_reason, "detail": (answer.invalid_message or "")[:300]}
        _log.warning("facilitator refused a payment", extra={"rail": self.name, **said})
        if answer.invalid_reason == ERR_FEE_PAYER_NOT_MANAGED:
            # It has changed its fee payers: the next challenge asks who they are.
            self._fee_payers = ()
        if answer.invalid_reason == ERR_SIMULATION_FAILED:
            # We have just seen that the chain would take it: they are in trouble, not the payment.
            raise RailDownError(rail=self.name)
        self._refuse(_quoted(answer.invalid_reason))

    def _warn(self, message: str, error: Exception) -> None:
        _log.warning(message, extra={"rail": self.name, "failure": type(error).__name__})


def _kept(proof: Proof) -> tuple[PaymentPayload, SolanaTransfer]:
    payment = PaymentPayload.model_validate_json(proof.payload)
    return payment, SolanaTransfer.parse(payment.payload)


def _fee_payers(supported: SupportedResponse, network: str) -> tuple[str, ...]:
    """Those of whom it says that they pay on this network, the one it names first in front."""
    named = [
        str((kind.extra or {}).get("feePayer", ""))
        for kind in supported.kinds
        if (kind.x402_version, kind.scheme, kind.network) == (_VERSION, SCHEME, network)
    ]
    if not any(named):
        return ()
    signers = supported.signers or {}
    others = [*signers.get(network, ()), *signers.get("solana:*", ())]
    return tuple(dict.fromkeys(filter(None, [*named, *others])))


def _plain(trouble: object) -> str:
    if trouble == _TOO_LITTLE:
        return "the wallet does not hold enough USDC"
    return _PLAIN.get(str(trouble), f"the chain would refuse it: {str(trouble)[:100]}")


def _quoted(reason: str | None) -> str:
    return f"the facilitator says {(reason or 'nothing')[:100]}"
