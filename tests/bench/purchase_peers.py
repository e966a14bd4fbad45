"""What `tests.bench.purchases` compares with: aiohttp and the x402 library, and no ledger.

The library's own way: it verifies, settles and believes what it is told. The chains are of the kind
our sandbox has, in memory.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from solders.keypair import Keypair
from x402.http.utils import (
    decode_payment_signature_header,
    encode_payment_required_header,
    encode_payment_response_header,
)
from x402.mechanisms.evm.exact import register_exact_evm_server
from x402.mechanisms.svm.exact import register_exact_svm_server
from x402.schemas import PaymentPayload, PaymentRequirements, ResourceInfo
from x402.server import x402ResourceServer

from adapters.clock import SystemClock
from adapters.http.server import Runner
from adapters.rails.networks import BASE, SOLANA
from adapters.rails.solana_signer import SolanaFacilitator, SolanaSigner
from adapters.sandbox.evm import SandboxChain
from adapters.sandbox.facilitator import SandboxFacilitator
from adapters.sandbox.solana import SolanaChain
from adapters.sandbox.solana_rpc import SolanaNode
from tests.bench.purchase_shops import PATH, SOLANA_NODE, TIMEOUT_S

# Throwaways: who is paid, and who pays the fees on Solana.
_PAY_TO = "0x2222222222222222222222222222222222222222"
_TILL = Keypair.from_seed(b"\x02" * 32)
_FEE_PAYER = Keypair.from_seed(b"\x03" * 32)
_FEES_LAMPORTS = 10**12

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Spans:
    """What verifying and settling took, in ms, in the order in which they ended."""

    verify: list[float] = field(default_factory=list)
    settle: list[float] = field(default_factory=list)

    def timed(self, name: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        kept: list[float] = getattr(self, name)

        async def run(*arguments: object) -> object:
            began = time.perf_counter()
            try:
                return await call(*arguments)
            finally:
                kept.append((time.perf_counter() - began) * 1_000)

        return run


@dataclass(frozen=True, slots=True, kw_only=True)
class Till:
    """A server that is paid: how to give its customers money, and what it has received."""

    url: str
    spans: Spans
    fund: Callable[[str, int], Awaitable[object]]
    received: Callable[[], Awaitable[int]]


@asynccontextmanager
async def bare_base() -> AsyncIterator[Till]:
    clock, spans = SystemClock(), Spans()
    chain = SandboxChain(clock)
    server = register_exact_evm_server(
        x402ResourceServer(SandboxFacilitator(chain, clock)), BASE.caip2
    )
    server.initialize()
    terms = PaymentRequirements(
        scheme="exact",
        network=BASE.caip2,
        asset=BASE.usdc,
        amount="",
        pay_to=_PAY_TO,
        max_timeout_seconds=TIMEOUT_S,
        extra={"name": BASE.domain_name, "version": BASE.domain_version},
    )

    async def fund(address: str, amount: int) -> object:
        return chain.mint(address, amount)

    async def received() -> int:
        return chain.balance(_PAY_TO)

    async with _served({PATH: _seller(server, terms, spans)}) as url:
        yield Till(url=url, spans=spans, fund=fund, received=received)


@asynccontextmanager
async def bare_solana() -> AsyncIterator[Till]:
    spans, pay_to = Spans(), str(_TILL.pubkey())
    chain = SolanaChain(SystemClock())
    chain.fund(str(_FEE_PAYER.pubkey()), 0, lamports=_FEES_LAMPORTS)
    chain.fund(pay_to, 0)
    node = SolanaNode(chain)
    facilitator = SolanaFacilitator(SolanaSigner(_FEE_PAYER, node.answer), SOLANA.caip2)
    server = register_exact_svm_server(x402ResourceServer(facilitator), SOLANA.caip2)
    server.initialize()
    terms = PaymentRequirements(
        scheme="exact",
        network=SOLANA.caip2,
        asset=SOLANA.usdc,
        amount="",
        pay_to=pay_to,
        max_timeout_seconds=TIMEOUT_S,
        extra={"feePayer": str(_FEE_PAYER.pubkey())},
    )

    async def fund(address: str, amount: int) -> object:
        return chain.fund(address, amount)

    async def received() -> int:
        return chain.balance(pay_to)

    routes = {PATH: _seller(server, terms, spans), SOLANA_NODE: node.respond}
    try:
        async with _served(routes) as url:
            yield Till(url=url, spans=spans, fund=fund, received=received)
    finally:
        facilitator.close()


PEERS: dict[str, Callable[[], AbstractAsyncContextManager[Till]]] = {
    "x402-base": bare_base,
    "x402-solana": bare_solana,
}


def _seller(server: x402ResourceServer, terms: PaymentRequirements, spans: Spans) -> Handler:
    """The handler of the library's own example: ask, or verify, settle and answer."""
    verify = spans.timed("verify", server.verify_payment)
    settle = spans.timed("settle", server.settle_payment)

    async def sell(request: web.Request) -> web.Response:
        amount = str(round((await request.json())["amount_usd"] * 1_000_000))
        asked = terms.model_copy(update={"amount": amount})
        header = request.headers.get("PAYMENT-SIGNATURE")
        if header is None:
            challenge = await server.create_payment_required_response(
                [asked], ResourceInfo(url=str(request.url)), "Payment required"
            )
            return web.json_response(
                {"error": "Payment required"},
                status=402,
                headers={"PAYMENT-REQUIRED": encode_payment_required_header(challenge)},
            )
        payment = decode_payment_signature_header(header)
        assert isinstance(payment, PaymentPayload)
        assert server.find_matching_requirements([asked], payment) is not None
        verdict = await verify(payment, asked)
        assert verdict.is_valid, verdict
        settled = await settle(payment, asked)
        assert settled.success, settled
        return web.json_response(
            {"credited_microcredits": amount},
            headers={"PAYMENT-RESPONSE": encode_payment_response_header(settled)},
        )

    return sell


@asynccontextmanager
async def _served(routes: dict[str, Handler]) -> AsyncIterator[str]:
    app = web.Application()
    for path, handler in routes.items():
        app.router.add_post(path, handler)
    runner = Runner(app)
    await runner.setup()
    try:
        listening = web.TCPSite(runner, "127.0.0.1", 0)
        await listening.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
