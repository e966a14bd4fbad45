"""Dollars on Base by x402: an authorization, a facilitator to submit it, a chain to check it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from eth_utils.address import is_address, to_checksum_address
from x402.mechanisms.evm.constants import (
    ERR_INSUFFICIENT_BALANCE,
    ERR_INVALID_SIGNATURE,
    ERR_NONCE_ALREADY_USED,
    ERR_UNDEPLOYED_SMART_WALLET,
    ERR_VALID_AFTER_FUTURE,
    ERR_VALID_BEFORE_EXPIRED,
)
from x402.mechanisms.evm.exact import register_exact_evm_server
from x402.schemas import PaymentPayload, SettleResponse
from x402.schemas.v1 import PaymentPayloadV1
from x402.server import x402ResourceServer

from adapters.rails import wire
from adapters.rails.chain import AuthorizationState, ChainReader, Landed, Transfer, Voided
from adapters.rails.eip3009 import Authorization
from adapters.rails.facilitator import Facilitator
from adapters.rails.networks import BaseNetwork
from adapters.rails.offers import OfferSigner
from adapters.rails.terms import AHEAD_S_MAX, SCHEME, Terms, mismatch_signed, mismatch_v2
from adapters.rails.x402_challenge import Asked, challenge, receipt
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

_VERSION = 2
# Chain time past the deadline before we believe that nothing can land: late nodes, short forks.
_FINAL_S = 60
# A hash is shorter; a facilitator could say anything.
_REFERENCE_MAX = 100
_PLAIN = {
    ERR_INSUFFICIENT_BALANCE: "the wallet does not hold enough USDC",
    ERR_INVALID_SIGNATURE: "the signature does not fit the payment",
    ERR_NONCE_ALREADY_USED: "this authorization was already used",
    ERR_UNDEPLOYED_SMART_WALLET: "the smart wallet is not deployed yet",
    ERR_VALID_AFTER_FUTURE: "the authorization is not valid yet",
    ERR_VALID_BEFORE_EXPIRED: "the authorization has expired",
}
_OVER = "the authorization has expired, or was cancelled or spent elsewhere"
# A facilitator that gives one of these reasons has submitted nothing.
_NOT_SENT = frozenset(_PLAIN) - {ERR_NONCE_ALREADY_USED}


class X402Rail:
    """Implements `PaymentRail` for EIP-3009 USDC; the chain has the last word, not the facilitator.

    `pay_to` must belong to this ledger alone: whoever else credits transfers to it would credit
    the same authorizations again.
    """

    def __init__(
        self,
        *,
        pay_to: str,
        network: BaseNetwork,
        facilitator: Facilitator,
        chain: ChainReader,
        clock: Clock,
        name: str = "x402-base",
        signer: OfferSigner | None = None,
        settle_timeout_ms: int = 30_000,
        confirm_wait_ms: int = 500,
        confirm_tries: int = 8,
    ) -> None:
        self.name = name
        self.protocol = "x402"
        self.networks: tuple[str, ...] = (network.caip2, network.legacy)
        self._network = network
        self._terms = Terms(pay_to=pay_to, network=network)
        self._chain = chain
        self._clock = clock
        self._signer = signer
        self._settle_timeout_ms = settle_timeout_ms
        self._confirm_wait_ms = confirm_wait_ms
        self._confirm_tries = confirm_tries
        self._server = register_exact_evm_server(x402ResourceServer(facilitator), network.caip2)
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
        return await challenge(
            self,
            purchase,
            refusal=refusal,
            beside=beside,
            signer=self._signer,
            now_ms=self._clock.now_ms(),
        )

    async def asked(self, purchase: Purchase) -> Asked:
        await self._start()
        return Asked(self._terms.of(purchase), self._network)

    async def decode(self, headers: dict[str, str], purchase: Purchase) -> Proof | None:
        payment = wire.presented(headers)
        if payment is None:
            return None
        terms = self._terms.of(purchase)
        if isinstance(payment, PaymentPayloadV1):
            self._refuse(self._terms.mismatch_v1(payment))
        elif self._server.find_matching_requirements([terms], payment) is None:
            self._refuse(mismatch_v2(payment, terms))
        authorization = Authorization.parse(payment.payload)
        now_s = self._clock.now_ms() // 1000
        self._refuse(mismatch_signed(authorization, terms, now_s=now_s))
        # The payment as we keep it: our own terms, the authorization, and nothing else. A version 1
        # payment is the same authorization, so it goes on as version 2.
        kept = PaymentPayload(payload=authorization.wire(), accepted=terms)
        return Proof(
            key=authorization.key(network=terms.network, asset=terms.asset),
            network=terms.network,
            chain="evm",
            payer=authorization.payer,
            amount=purchase.amount,
            expires_at_ms=authorization.valid_before_s * 1000,
            payload=kept.model_dump_json(by_alias=True, exclude_none=True),
        )

    async def verify(self, proof: Proof, purchase: Purchase) -> None:
        await self._start()
        payment = PaymentPayload.model_validate_json(proof.payload)
        try:
            answer = await self._server.verify_payment(payment, payment.accepted)
            state = await self._state(payment)
            # A search goes far back and asks a lot: not where a stranger has made up the rest.
            honest = answer.invalid_reason != ERR_INVALID_SIGNATURE
            live = honest and state.chain_time_s * 1000 < proof.expires_at_ms
            found = await self._find(payment) if state.used and live else None
        except Exception as error:  # A facilitator or node may fail in any way; nothing was sent.
            self._warn("payment not verified", error)
            raise RailDownError(rail=self.name) from error
        if isinstance(found, Landed):
            # Somebody else has submitted it before us: it is paid, not used up.
            return
        seen_used = state.used or answer.invalid_reason == ERR_NONCE_ALREADY_USED
        if live and seen_used and found is None:
            # Used, and the node has not shown us how: it may be late, and the money may be ours.
            # A refusal would invite to pay again.
            raise PaymentUncertainError(rail=self.name, reference="")
        if not answer.is_valid:
            self._refuse(_plain(answer.invalid_reason))
        if state.used:
            self._refuse(_PLAIN[ERR_NONCE_ALREADY_USED])

    async def settle(self, proof: Proof) -> Settled | Rejected | Uncertain:
        payment = PaymentPayload.model_validate_json(proof.payload)
        answer = await self._submit(payment)
        reason = (answer.error_reason or "") if answer is not None else ""
        tries = 1 if reason in _NOT_SENT else self._confirm_tries
        for attempt in range(tries):
            if attempt:
                await self._clock.sleep_until(self._clock.now_ms() + self._confirm_wait_ms)
            found = await self.lookup(proof)
            if isinstance(found, Settled):
                return found
            if isinstance(found, Absent) and found.final:
                return Rejected(_OVER)
        if reason in _NOT_SENT and isinstance(found, Absent):
            return Rejected(_plain(reason))
        return Uncertain(answer.transaction[:_REFERENCE_MAX] if answer is not None else "")

    async def lookup(self, proof: Proof) -> Settled | Absent | Uncertain:
        payment = PaymentPayload.model_validate_json(proof.payload)
        try:
            state = await self._state(payment)
            if not state.used:
                return Absent(final=state.chain_time_s > proof.expires_at_ms // 1000 + _FINAL_S)
            found = await self._find(payment)
        except ConnectionError as error:
            self._warn("chain not read", error)
            return Uncertain("")
        match found:
            case Landed(transaction=transaction):
                return Settled(reference=transaction, payer=proof.payer, amount=proof.amount)
            case Voided():
                return Absent(final=True)
            case None:
                # Used, and the node has not shown us how: it may be late, so it stays open.
                return Uncertain("")

    def receipt(self, outcome: Outcome, purchase: Purchase) -> Receipt:
        payer = outcome.payer
        return receipt(
            outcome,
            purchase,
            self._network,
            payer=to_checksum_address(payer) if is_address(payer) else payer,
            asset=self._network.usdc,
            signer=self._signer,
        )

    async def _start(self) -> None:
        """Ask the facilitator what it supports, once; until it answers, the rail is down."""
        async with self._starting:
            if self._ready:
                return
            try:
                await asyncio.to_thread(self._server.initialize)
            except Exception as error:  # The library raises whatever its transport does.
                self._warn("facilitator not reached", error)
                raise RailDownError(rail=self.name) from error
            if self._server.get_supported_kind(_VERSION, self._network.caip2, SCHEME) is None:
                _log.error("facilitator does not settle here", extra={"rail": self.name})
                raise RailDownError(rail=self.name)
            self._ready = True

    async def _submit(self, payment: PaymentPayload) -> SettleResponse | None:
        """The facilitator's word, which is not the last; None where it gave none."""
        try:
            await self._start()
            async with asyncio.timeout(self._settle_timeout_ms / 1000):
                return await self._server.settle_payment(payment, payment.accepted)
        except Exception as error:  # noqa: BLE001 (the chain says whether money moved)
            self._warn("settlement without an answer", error)
            return None

    async def _state(self, payment: PaymentPayload) -> AuthorizationState:
        authorization = Authorization.parse(payment.payload)
        return await self._chain.authorization_state(
            asset=payment.accepted.asset, payer=authorization.payer, nonce=authorization.nonce
        )

    async def _find(self, payment: PaymentPayload) -> Landed | Voided | None:
        authorization = Authorization.parse(payment.payload)
        return await self._chain.find_settlement(
            Transfer(
                asset=payment.accepted.asset,
                payer=authorization.payer,
                nonce=authorization.nonce,
                pay_to=payment.accepted.pay_to,
                amount=int(payment.accepted.amount),
                since_s=authorization.valid_before_s - 2 * AHEAD_S_MAX,
            )
        )

    def _refuse(self, reason: str | None) -> None:
        if reason is not None:
            raise PaymentRefusedError(rail=self.name, reason=reason)

    def _warn(self, message: str, error: Exception) -> None:
        _log.warning(message, extra={"rail": self.name, "failure": type(error).__name__})


def _plain(reason: str | None) -> str:
    return _PLAIN.get(reason or "", f"the facilitator says {(reason or 'nothing')[:100]}")
