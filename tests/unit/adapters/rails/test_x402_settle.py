"""No coin lost and none counted twice, whatever the facilitator says or fails to say."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from eth_abi.abi import encode
from eth_account import Account
from eth_utils.crypto import keccak
from x402.mechanisms.evm.constants import ERR_NONCE_ALREADY_USED
from x402.schemas import SettleResponse, SupportedResponse, VerifyResponse

from adapters.rails.facilitator import HttpFacilitator
from adapters.rails.networks import BASE
from adapters.sandbox.evm import USDC
from adapters.sandbox.facilitator import SandboxFacilitator
from adapters.sandbox.rpc import SandboxNode
from domain.errors import PaymentRefusedError, PaymentUncertainError, RailDownError
from domain.ports.payments import Absent, Proof, Rejected, Settled, Uncertain
from tests.fakes.sandbox import (
    CANCEL_TYPES,
    DOMAIN,
    PAY_TO,
    Sandbox,
    changed,
    signed_again,
    signed_header,
    submission,
    submit,
)
from tests.fakes.smart_wallet import SmartWallet

PRICE = 100_000


def spend(sandbox: Sandbox, amount: int) -> None:
    """The buyer moves money elsewhere by an ordinary transfer."""
    sandbox.chain.fund_gas(sandbox.buyer.address)
    arguments = encode(["address", "uint256"], ["0x" + "99" * 20, amount])
    data = keccak(text="transfer(address,uint256)")[:4] + arguments
    sandbox.chain.transact(caller=sandbox.buyer.address, to=USDC, data=data)


def cancel(sandbox: Sandbox, proof: Proof) -> None:
    """The buyer withdraws the authorization before it was used."""
    nonce = proof.key.split("|")[3]
    message = {"authorizer": sandbox.buyer.address, "nonce": nonce}
    signed = sandbox.buyer.sign_typed_data(DOMAIN, CANCEL_TYPES, message)
    arguments = encode(
        ["address", "bytes32", "bytes"],
        [sandbox.buyer.address, bytes.fromhex(nonce[2:]), bytes(signed.signature)],
    )
    selector = keccak(text="cancelAuthorization(address,bytes32,bytes)")[:4]
    stranger = Account.create().address
    sandbox.chain.fund_gas(stranger)
    sandbox.chain.transact(caller=stranger, to=USDC, data=selector + arguments)


async def paid_by(wallet: SmartWallet, sandbox: Sandbox) -> Proof:
    """A contract wallet's payment, signed by its owner."""
    payment = changed(await sandbox.pay(), **{"from": wallet.address})
    payment.payload["signature"] = "0x" + wallet.sign(payment).hex()
    return await sandbox.decoded(payment)


async def test_the_reference_is_the_transaction_that_paid(sandbox: Sandbox) -> None:
    settled = await sandbox.rail.settle(await sandbox.proof())

    assert isinstance(settled, Settled)
    receipt = sandbox.chain.receipt(settled.reference)
    assert receipt is not None
    assert receipt.succeeded


@pytest.mark.parametrize("fault", ["lose_answer", "deny_success", "send_twice"])
async def test_the_chain_has_the_last_word(sandbox: Sandbox, fault: str) -> None:
    proof = await sandbox.proof()
    setattr(sandbox.faults, fault, True)

    outcome = await sandbox.rail.settle(proof)

    assert isinstance(outcome, Settled)
    assert sandbox.received() == PRICE


async def test_a_facilitator_slower_than_our_patience_loses_nothing(sandbox: Sandbox) -> None:
    class Stuck:
        def now_ms(self) -> int:
            return sandbox.clock.now_ms()

        async def sleep_until(self, at_ms: int) -> None:
            await asyncio.Event().wait()

    proof = await sandbox.proof()
    slow = SandboxFacilitator(sandbox.chain, Stuck(), sandbox.faults)
    sandbox.faults.settle_delay_ms = 60_000
    rail = sandbox.new_rail(facilitator=slow, settle_timeout_ms=500)

    assert isinstance(await rail.settle(proof), Settled)
    assert sandbox.received() == PRICE


async def test_a_success_that_the_chain_does_not_show_is_no_success(sandbox: Sandbox) -> None:
    proof = await sandbox.proof()
    sandbox.faults.feign_success = True

    outcome = await sandbox.rail.settle(proof)

    assert outcome == Uncertain("0x" + "fe" * 32)
    assert sandbox.received() == 0


async def test_used_by_hearsay_and_unused_on_the_chain_is_uncertain(sandbox: Sandbox) -> None:
    class Hasty(SandboxFacilitator):
        async def settle(self, payload: object, requirements: object) -> SettleResponse:
            return SettleResponse(
                success=False,
                error_reason=ERR_NONCE_ALREADY_USED,
                transaction="",
                network=BASE.caip2,
            )

    proof = await sandbox.proof()
    rail = sandbox.new_rail(facilitator=Hasty(sandbox.chain, sandbox.clock))

    assert isinstance(await rail.settle(proof), Uncertain)


async def test_a_payment_is_not_carried_along_a_redirect(sandbox: Sandbox) -> None:
    proof = await sandbox.proof()
    seen: list[str] = []

    async def redirect(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    async def supported(_: web.Request) -> web.Response:
        answer = sandbox.facilitator.get_supported()
        return web.json_response(answer.model_dump(by_alias=True, exclude_none=True))

    app = web.Application()
    app.router.add_get("/supported", supported)
    app.router.add_post("/{path}", redirect)
    async with TestServer(app) as server:
        facilitator = HttpFacilitator(str(server.make_url("")), timeout_ms=5_000)
        await sandbox.new_rail(facilitator=facilitator).settle(proof)
        await facilitator.aclose()

    assert seen == ["/settle"]


async def test_a_stranger_may_carry_the_payment_before_we_verify(sandbox: Sandbox) -> None:
    payment = await sandbox.pay()
    proof = await sandbox.decoded(payment)
    transaction = submit(sandbox.chain, payment)

    await sandbox.rail.verify(proof, sandbox.purchase())
    settled = await sandbox.rail.settle(proof)

    assert isinstance(settled, Settled)
    assert settled.reference == transaction
    assert sandbox.received() == PRICE


async def test_a_payment_used_in_a_way_not_yet_seen_is_not_refused(sandbox: Sandbox) -> None:
    class Late(SandboxNode):
        async def call(self, method: str, params: list[object]) -> object:
            return [] if method == "eth_getLogs" else await super().call(method, params)

    payment = await sandbox.pay()
    proof = await sandbox.decoded(payment)
    submit(sandbox.chain, payment)

    with pytest.raises(PaymentUncertainError):
        await sandbox.new_rail(rpc=Late(sandbox.chain)).verify(proof, sandbox.purchase())


async def test_a_facilitator_whose_node_is_ahead_of_ours_does_not_have_it_refused(
    sandbox: Sandbox,
) -> None:
    class Behind(SandboxNode):
        async def call(self, method: str, params: list[object]) -> object:
            return "0x0" if method == "eth_call" else await super().call(method, params)

    payment = await sandbox.pay()
    proof = await sandbox.decoded(payment)
    submit(sandbox.chain, payment)

    with pytest.raises(PaymentUncertainError):
        await sandbox.new_rail(rpc=Behind(sandbox.chain)).verify(proof, sandbox.purchase())


async def test_a_payment_carried_long_ago_is_not_taken_as_new(sandbox: Sandbox) -> None:
    payment = await sandbox.pay()
    proof = await sandbox.decoded(payment)
    submit(sandbox.chain, payment)
    sandbox.clock.advance(121_000)

    with pytest.raises(PaymentRefusedError, match="expired"):
        await sandbox.rail.verify(proof, sandbox.purchase())


async def test_a_gullible_facilitator_does_not_make_a_used_payment_good(sandbox: Sandbox) -> None:
    class Gullible(SandboxFacilitator):
        async def verify(self, payload: object, requirements: object) -> VerifyResponse:
            return VerifyResponse(is_valid=True)

    proof = await sandbox.proof()
    cancel(sandbox, proof)
    rail = sandbox.new_rail(facilitator=Gullible(sandbox.chain, sandbox.clock))

    with pytest.raises(PaymentRefusedError, match="already used"):
        await rail.verify(proof, sandbox.purchase())


async def test_a_drained_wallet_is_refused_at_settlement(sandbox: Sandbox) -> None:
    proof = await sandbox.proof()
    await sandbox.rail.verify(proof, sandbox.purchase())
    spend(sandbox, 950_000)

    outcome = await sandbox.rail.settle(proof)

    assert outcome == Rejected("the wallet does not hold enough USDC")
    assert sandbox.received() == 0


async def test_a_cancelled_authorization_is_over(sandbox: Sandbox) -> None:
    proof = await sandbox.proof()
    cancel(sandbox, proof)

    assert isinstance(await sandbox.rail.settle(proof), Rejected)
    assert await sandbox.rail.lookup(proof) == Absent(final=True)


async def test_a_cancelled_authorization_does_not_verify(sandbox: Sandbox) -> None:
    proof = await sandbox.proof()
    cancel(sandbox, proof)

    with pytest.raises(PaymentRefusedError, match="already used"):
        await sandbox.rail.verify(proof, sandbox.purchase())


async def test_an_authorization_spent_on_somebody_else_is_over(sandbox: Sandbox) -> None:
    payment = await sandbox.pay()
    proof = await sandbox.decoded(payment)
    submit(sandbox.chain, signed_again(payment, sandbox.buyer, to="0x" + "99" * 20))

    assert isinstance(await sandbox.rail.settle(proof), Rejected)
    assert sandbox.received() == 0


async def test_one_transfer_in_a_bundle_is_not_counted_for_two_payments(sandbox: Sandbox) -> None:
    wallet = SmartWallet(sandbox.chain, owner=sandbox.buyer)
    cheated_payment = await sandbox.pay()
    honest_payment = await sandbox.pay()
    cheated = await sandbox.decoded(cheated_payment)
    honest = await sandbox.decoded(honest_payment)
    elsewhere = signed_again(cheated_payment, sandbox.buyer, to="0x" + "99" * 20)

    wallet.run(USDC, [submission(elsewhere), submission(honest_payment)])

    assert isinstance(await sandbox.rail.lookup(honest), Settled)
    assert await sandbox.rail.lookup(cheated) == Absent(final=True)


async def test_a_cancellation_beside_a_gift_is_no_settlement(sandbox: Sandbox) -> None:
    wallet = SmartWallet(sandbox.chain, owner=sandbox.buyer)
    sandbox.chain.mint(wallet.address, PRICE)
    proof = await paid_by(wallet, sandbox)
    nonce = bytes.fromhex(proof.key.split("|")[3][2:])
    cancelling = wallet.cancellation(nonce)
    giving = keccak(text="transfer(address,uint256)")[:4] + encode(
        ["address", "uint256"], [PAY_TO, PRICE]
    )

    wallet.run(USDC, [cancelling, giving])

    assert await sandbox.rail.lookup(proof) == Absent(final=True)


async def test_a_contract_wallet_pays_as_itself(sandbox: Sandbox) -> None:
    wallet = SmartWallet(sandbox.chain, owner=sandbox.buyer)
    sandbox.chain.mint(wallet.address, PRICE)
    proof = await paid_by(wallet, sandbox)

    await sandbox.rail.verify(proof, sandbox.purchase())
    settled = await sandbox.rail.settle(proof)

    assert isinstance(settled, Settled)
    assert settled.payer == wallet.address.lower()
    assert sandbox.received() == PRICE


async def test_a_contract_wallet_refuses_what_its_owner_did_not_sign(sandbox: Sandbox) -> None:
    wallet = SmartWallet(sandbox.chain, owner=sandbox.buyer)
    sandbox.chain.mint(wallet.address, PRICE)
    payment = changed(await sandbox.pay(), **{"from": wallet.address})

    with pytest.raises(PaymentRefusedError):
        await sandbox.rail.verify(await sandbox.decoded(payment), sandbox.purchase())


async def test_a_signature_by_somebody_else_is_refused(sandbox: Sandbox) -> None:
    payment = signed_again(await sandbox.pay(), Account.create())

    with pytest.raises(PaymentRefusedError, match="signature"):
        await sandbox.rail.verify(await sandbox.decoded(payment), sandbox.purchase())


async def test_a_payment_not_yet_valid_is_refused(sandbox: Sandbox) -> None:
    soon = str(sandbox.clock.now_ms() // 1000 + 60)
    payment = signed_again(await sandbox.pay(), sandbox.buyer, validAfter=soon)

    with pytest.raises(PaymentRefusedError, match="not valid yet"):
        await sandbox.rail.verify(await sandbox.decoded(payment), sandbox.purchase())


async def test_a_facilitator_down_after_the_start_moves_nothing(sandbox: Sandbox) -> None:
    proof = await sandbox.proof()
    sandbox.faults.facilitator_down = True

    with pytest.raises(RailDownError):
        await sandbox.rail.verify(proof, sandbox.purchase())
    assert await sandbox.rail.settle(proof) == Uncertain("")
    assert sandbox.received() == 0


async def test_a_payment_that_was_never_sent_can_be_settled_later(sandbox: Sandbox) -> None:
    proof = await sandbox.proof()
    sandbox.faults.facilitator_down = True
    await sandbox.rail.settle(proof)
    sandbox.faults.facilitator_down = False

    assert isinstance(await sandbox.rail.settle(proof), Settled)
    assert sandbox.received() == PRICE


async def test_used_without_a_trace_stays_open(sandbox: Sandbox) -> None:
    class Late(SandboxNode):
        async def call(self, method: str, params: list[object]) -> object:
            return [] if method == "eth_getLogs" else await super().call(method, params)

    proof = await sandbox.proof()
    await sandbox.rail.settle(proof)

    assert await sandbox.new_rail(rpc=Late(sandbox.chain)).lookup(proof) == Uncertain("")


async def test_it_is_not_over_at_the_deadline_but_a_minute_after(sandbox: Sandbox) -> None:
    proof = await sandbox.proof()

    sandbox.clock.at_ms = proof.expires_at_ms + 60_000
    at_the_edge = await sandbox.rail.lookup(proof)
    sandbox.clock.advance(1_000)

    assert at_the_edge == Absent(final=False)
    assert await sandbox.rail.lookup(proof) == Absent(final=True)


async def test_a_facilitator_for_other_networks_is_no_use(sandbox: Sandbox) -> None:
    class Elsewhere(SandboxFacilitator):
        def get_supported(self) -> SupportedResponse:
            supported = super().get_supported()
            kinds = [kind for kind in supported.kinds if kind.network != BASE.caip2]
            return supported.model_copy(update={"kinds": kinds})

    rail = sandbox.new_rail(facilitator=Elsewhere(sandbox.chain, sandbox.clock))

    with pytest.raises(RailDownError):
        await rail.challenge(sandbox.purchase())


async def test_no_log_line_holds_a_signature(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    payment = await sandbox.pay()
    proof = await sandbox.rail.decode(signed_header(payment), sandbox.purchase())
    assert proof is not None
    caplog.set_level(0)
    sandbox.faults.lose_answer = True

    await sandbox.rail.settle(proof)

    lines = "".join(str(vars(record)) for record in caplog.records)
    assert payment.payload["signature"][2:] not in lines
