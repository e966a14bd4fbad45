"""The official x402 client for Solana, with the lines to its node closed when it is done."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from solders.keypair import Keypair
from x402.client import x402Client
from x402.mechanisms.svm.exact.client import ExactSvmScheme
from x402.mechanisms.svm.exact.v1.client import ExactSvmSchemeV1
from x402.mechanisms.svm.signers import KeypairSigner
from x402.schemas import PaymentPayload, PaymentRequired
from x402.schemas.v1 import PaymentPayloadV1, PaymentRequiredV1

from adapters.rails.networks import SOLANA


@contextmanager
def solana_client(key: Keypair, rpc_url: str) -> Iterator[x402Client]:
    """As `register_exact_svm_client` makes it."""
    signer = KeypairSigner(key)
    new, old = ExactSvmScheme(signer, rpc_url), ExactSvmSchemeV1(signer, rpc_url)
    try:
        yield x402Client().register("solana:*", new).register_v1(SOLANA.legacy, old)
    finally:
        for line in (*new._clients.values(), *old._clients.values()):
            # It has no other way to be closed.
            line._provider.session.close()


async def pay_on_solana(
    terms: PaymentRequired | PaymentRequiredV1, key: Keypair, rpc_url: str
) -> PaymentPayload | PaymentPayloadV1:
    """What the official client signs; in a thread, since it blocks while it asks its node."""

    def pay() -> PaymentPayload | PaymentPayloadV1:
        with solana_client(key, rpc_url) as client:
            return asyncio.run(client.create_payment_payload(terms))

    return await asyncio.to_thread(pay)
