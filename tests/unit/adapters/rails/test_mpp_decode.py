"""What a credential must be before anybody is asked anything: ours, for this, by its payer."""

from __future__ import annotations

import pytest
from eth_account import Account
from mpp import generate_challenge_id
from mpp.methods.tempo.intents import (
    TRANSFER_WITH_MEMO_TOPIC,
)

from adapters.rails.mpp_networks import TEMPO
from adapters.rails.mpp_offers import EXPIRED, MALFORMED, NO_PAYMENT, NOT_OURS, TOO_LATE
from adapters.rails.mpp_transfer import TempoTransfer
from domain.errors import PaymentRefusedError, PaymentUncertainError
from domain.money import Microcredits
from domain.ports.payments import Purchase, Uncertain
from tests.fakes.mpp_payer import (
    PATH_USD,
    PAY_TO,
    STRANGERS_KEY,
    Payer,
    ScriptedNode,
    Signing,
    hash_headers,
    headers_of,
    memo_for,
    tampered,
    transaction_headers,
)

ELSEWHERE = "0x3333333333333333333333333333333333333333"


@pytest.fixture
def node() -> ScriptedNode:
    return ScriptedNode()


@pytest.fixture
def payer(node: ScriptedNode) -> Payer:
    return Payer(node)


async def refusal_of(
    payer: Payer, headers: dict[str, str], purchase: Purchase | None = None
) -> str:
    with pytest.raises(PaymentRefusedError) as refused:
        await payer.new_rail().decode(headers, purchase or payer.purchase())
    return refused.value.reason


async def test_an_honest_credential_says_who_pays_what(payer: Payer, node: ScriptedNode) -> None:
    headers = await payer.pay()
    node.asked.clear()

    proof = await payer.decoded(headers)

    assert (proof.payer, proof.amount) == (payer.buyer.address.lower(), Microcredits(100_000))
    assert (proof.network, proof.chain, proof.paid) == ("eip155:4217", "evm", False)
    assert node.asked == []


async def test_its_key_is_the_network_the_transaction_and_the_memo(payer: Payer) -> None:
    proof = await payer.proof()

    transfer = TempoTransfer.of(proof)
    assert proof.key == f"eip155:4217|{transfer.hash}|{transfer.memo}"


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer x"}, {"authorization": ""}])
async def test_without_a_payment_scheme_there_is_no_proof(
    payer: Payer, headers: dict[str, str]
) -> None:
    assert await payer.new_rail().decode(headers, payer.purchase()) is None


async def test_a_credential_is_found_beside_other_schemes(payer: Payer) -> None:
    headers = await payer.pay()
    beside = {"authorization": f"Bearer abc, {headers['authorization']}"}

    assert await payer.decoded(beside) == await payer.decoded(headers)


@pytest.mark.parametrize(
    "text", ["%%%", "bm90IGEgcGF5bWVudA", "e30", "W10", "a" * 70_000, "WzFd" * 20_000]
)
async def test_garbage_is_refused(payer: Payer, text: str) -> None:
    assert await refusal_of(payer, {"authorization": f"Payment {text}"}) in (MALFORMED, NOT_OURS)


async def test_another_body_is_refused(payer: Payer) -> None:
    headers = await payer.pay()
    other = payer.purchase(content=b'{"amount_usd": 0.1, "wallet_address": "0x"}')

    assert "request body" in await refusal_of(payer, headers, other)


async def test_another_amount_is_refused(payer: Payer) -> None:
    headers = await payer.pay(payer.purchase(100_000))

    assert "another purchase" in await refusal_of(payer, headers, payer.purchase(200_000))


async def test_a_credential_for_another_path_is_refused(payer: Payer) -> None:
    headers = await payer.pay(payer.purchase(url="http://shop.test/elsewhere"))

    assert "another purchase" in await refusal_of(payer, headers)


async def test_a_credential_for_another_host_is_refused(payer: Payer) -> None:
    headers = await payer.pay(payer.purchase(url="http://other.test/v1/credits/purchase/mpp"))

    assert "another purchase" in await refusal_of(payer, headers)


@pytest.mark.parametrize(
    "fields",
    [
        {"id": "another"},
        {"id": "\u00e9"},
        {"realm": "other.test"},
        {"method": "evm"},
        {"intent": "session"},
        {"request": "e30"},
        {"request": "%"},
        {"expires": "2999-01-01T00:00:00Z"},
        {"expires": None},
        {"digest": "sha-256=AAAA"},
        {"opaque": "e30"},
        {"opaque": "W10"},
    ],
    ids=str,
)
async def test_a_tampered_challenge_is_refused(payer: Payer, fields: dict[str, object]) -> None:
    headers = tampered(await payer.pay(), **fields)

    assert await refusal_of(payer, headers) in (NOT_OURS, MALFORMED)


async def test_a_challenge_of_another_gateway_is_refused(payer: Payer) -> None:
    headers = await payer.pay()
    stranger = payer.new_rail(seed=b"another")

    with pytest.raises(PaymentRefusedError, match=NOT_OURS):
        await stranger.decode(headers, payer.purchase())


@pytest.mark.parametrize(
    "signing",
    [
        Signing(amount=99_999),
        Signing(amount=100_001),
        Signing(amount=0),
        Signing(pay_to=ELSEWHERE),
        Signing(token=PATH_USD),
        Signing(chain_id=42431),
        Signing(calls=2),
        Signing(plain=True),
        Signing(memo="0x" + "00" * 32),
    ],
    ids=["less", "more", "nothing", "recipient", "token", "chain", "twice", "no memo", "memo"],
)
async def test_a_transaction_that_moves_anything_else_is_refused_before_anybody_is_asked(
    payer: Payer, node: ScriptedNode, signing: Signing
) -> None:
    headers = await payer.pay(signing=signing)
    node.asked.clear()

    await refusal_of(payer, headers)

    assert node.asked == []


async def test_a_transaction_for_another_challenge_is_refused(payer: Payer) -> None:
    other = await payer.asked()

    headers = await payer.pay(signing=Signing(memo=memo_for(other)))

    assert "not bound" in await refusal_of(payer, headers)


@pytest.mark.parametrize(
    "source",
    [
        f"did:pkh:eip155:{TEMPO.chain_id}:{ELSEWHERE}",
        f"did:pkh:eip155:8453:{Account.from_key(STRANGERS_KEY).address}",
        "did:key:z6Mk",
    ],
    ids=["another account", "another chain", "another method"],
)
async def test_a_source_that_is_not_the_signer_is_refused(payer: Payer, source: str) -> None:
    challenge = await payer.asked()

    headers = transaction_headers(challenge, payer.signed(challenge), source=source)

    assert "source" in await refusal_of(payer, headers)


async def test_the_signer_may_be_named_as_the_source(payer: Payer) -> None:
    challenge = await payer.asked()
    source = f"did:pkh:eip155:{TEMPO.chain_id}:{payer.buyer.address}"

    proof = await payer.decoded(
        transaction_headers(challenge, payer.signed(challenge), source=source)
    )

    assert proof.payer == payer.buyer.address.lower()


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"type": "cheque", "signature": "0x76"},
        {"type": "transaction"},
        {"type": "transaction", "signature": "rubbish"},
        {"type": "transaction", "signature": "0x"},
        {"type": "transaction", "signature": "0x7"},
        {"type": "transaction", "signature": "0x76c0"},
        {"type": "transaction", "signature": 7},
        {"type": "hash", "hash": "0x12"},
        {"type": "hash", "hash": "rubbish"},
    ],
    ids=str,
)
async def test_a_payload_that_is_no_payment_is_refused_in_our_words(
    payer: Payer, payload: dict[str, object]
) -> None:
    headers = headers_of(await payer.asked(), payload)

    reason = await refusal_of(payer, headers)

    assert reason == NO_PAYMENT or "transaction" in reason
    assert "pydantic" not in reason


async def test_an_expired_challenge_still_decodes_and_does_not_verify(payer: Payer) -> None:
    node = ScriptedNode(
        eth_getBlockByNumber={"timestamp": hex(payer.clock.now_ms() // 1000)},
        eth_getTransactionReceipt=None,
        eth_call=hex(10**6),
    )
    payer.node = node
    headers = await payer.pay(signing=Signing(window_s=590))
    payer.clock.advance(300_000)

    proof = await payer.decoded(headers)

    with pytest.raises(PaymentRefusedError, match=EXPIRED):
        await payer.new_rail().verify(proof, payer.purchase())


async def test_a_transaction_whose_time_has_passed_does_not_verify(payer: Payer) -> None:
    chain_time_s = payer.clock.now_ms() // 1000 + 25
    payer.node = ScriptedNode(
        eth_getBlockByNumber={"timestamp": hex(chain_time_s)},
        eth_getTransactionReceipt=None,
        eth_call=hex(10**6),
    )

    with pytest.raises(PaymentRefusedError, match=TOO_LATE):
        await payer.new_rail().verify(await payer.proof(), payer.purchase())


async def test_a_challenge_of_the_right_key_without_a_time_is_refused(payer: Payer) -> None:
    challenge = await payer.asked()
    rail = payer.new_rail()
    timeless = generate_challenge_id(
        secret_key=rail._offers._secret,
        realm=challenge.realm,
        method=challenge.method,
        intent=challenge.intent,
        request=challenge.request,
        digest=challenge.digest,
        opaque=challenge.opaque,
    )
    headers = transaction_headers(challenge, payer.signed(challenge))

    assert await refusal_of(payer, tampered(headers, id=timeless, expires=None)) == NOT_OURS


async def test_what_was_shown_on_the_chain_and_is_not_shown_again_is_uncertain(
    payer: Payer,
) -> None:
    challenge = await payer.asked()
    word = "0x" + payer.buyer.address[2:].lower().rjust(64, "0")
    log = {
        "address": TEMPO.token,
        "topics": [TRANSFER_WITH_MEMO_TOPIC, word, PAY_TO, memo_for(challenge)],
        "data": hex(100_000),
    }
    sent = "0x" + "ab" * 32
    receipt = {"transactionHash": sent, "status": "0x1", "logs": [log]}
    node = ScriptedNode(
        eth_getTransactionReceipt=receipt, eth_getBlockByNumber={"timestamp": "0x0"}
    )
    payer.node = node
    proof = await payer.decoded(hash_headers(challenge, sent))

    node.answers["eth_getTransactionReceipt"] = None

    assert await payer.new_rail().lookup(proof) == Uncertain(sent)


def test_wallets_of_the_evm_pay_here(payer: Payer) -> None:
    assert [payer.new_rail().serves(chain) for chain in ("evm", "solana")] == [True, False]


async def test_a_hash_that_cannot_be_looked_up_is_uncertain(payer: Payer) -> None:
    """To say that nothing was charged would be wrong: its payer says that it has paid."""
    headers = hash_headers(await payer.asked(), "0x" + "ab" * 32)

    with pytest.raises(PaymentUncertainError):
        await payer.new_rail().decode(headers, payer.purchase())
