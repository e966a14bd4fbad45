"""The sandbox cluster's node answers as clients of real ones expect."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from solders.keypair import Keypair
from solders.rpc.responses import (
    GetAccountInfoResp,
    GetLatestBlockhashResp,
    GetSignaturesForAddressResp,
    GetSignatureStatusesResp,
    GetTransactionResp,
    SimulateTransactionResp,
)

from adapters.rails.networks import SOLANA
from adapters.rails.solana_transfer import token_account
from adapters.sandbox.solana_rpc import SolanaNode, solana_node_app
from tests.fakes.solana_sandbox import BUYER, FEE_PAYER, MUCH, PAY_TO, SolanaSandbox

B64 = {"encoding": "base64"}
# A signature that nobody made: 64 zeros in base58.
UNKNOWN = "1" * 64


@pytest.fixture
def cluster() -> SolanaSandbox:
    return SolanaSandbox()


async def post(cluster: SolanaSandbox, body: object) -> Any:  # noqa: ANN401 (JSON)
    async with TestClient(TestServer(solana_node_app(cluster.node))) as client:
        return await (await client.post("/", json=body)).json()


async def raw(cluster: SolanaSandbox, method: str, *params: object) -> str:
    """The whole reply as text, for the types of the library to read."""
    async with TestClient(TestServer(solana_node_app(cluster.node))) as client:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        return await (await client.post("/", json=body)).text()


async def result(cluster: SolanaSandbox, method: str, *params: object) -> Any:  # noqa: ANN401 (JSON)
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
    return (await post(cluster, body))["result"]


def signed(cluster: SolanaSandbox, half: str) -> str:
    return cluster.signer.sign_transaction(half, str(FEE_PAYER.pubkey()), SOLANA.caip2)


async def test_it_says_which_chain_it_plays(cluster: SolanaSandbox) -> None:
    genesis = await result(cluster, "getGenesisHash")

    assert genesis.startswith(SOLANA.genesis)


async def test_the_library_reads_its_accounts(cluster: SolanaSandbox) -> None:
    reply = GetAccountInfoResp.from_json(await raw(cluster, "getAccountInfo", SOLANA.usdc, B64))

    assert reply.value is not None
    assert reply.value.data[44] == 6


async def test_an_account_that_is_not_there_is_null(cluster: SolanaSandbox) -> None:
    nobody = str(Keypair().pubkey())

    assert (await result(cluster, "getAccountInfo", nobody, B64))["value"] is None


async def test_the_library_reads_its_blockhashes(cluster: SolanaSandbox) -> None:
    reply = GetLatestBlockhashResp.from_json(await raw(cluster, "getLatestBlockhash"))

    assert str(reply.value.blockhash)
    assert (await result(cluster, "isBlockhashValid", str(reply.value.blockhash)))["value"]


async def test_a_finalized_blockhash_is_older_and_ends_sooner(cluster: SolanaSandbox) -> None:
    final, fresh = [
        (await result(cluster, "getLatestBlockhash", {"commitment": level}))["value"]
        for level in ("finalized", "confirmed")
    ]

    assert fresh["lastValidBlockHeight"] - final["lastValidBlockHeight"] == 32
    assert not (
        await result(cluster, "isBlockhashValid", fresh["blockhash"], {"commitment": "finalized"})
    )["value"]


async def test_the_library_reads_its_simulations(cluster: SolanaSandbox) -> None:
    how = {**B64, "sigVerify": True}
    text = await raw(cluster, "simulateTransaction", signed(cluster, cluster.transaction()), how)

    reply = SimulateTransactionResp.from_json(text)
    assert reply.value.err is None
    assert reply.value.units_consumed


async def test_the_library_reads_its_errors(cluster: SolanaSandbox) -> None:
    too_much = signed(cluster, cluster.transaction(MUCH + 1))

    reply = SimulateTransactionResp.from_json(
        await raw(cluster, "simulateTransaction", too_much, B64)
    )

    assert "Custom" in repr(reply.value.err)


async def test_signatures_are_looked_at_only_where_that_is_asked(cluster: SolanaSandbox) -> None:
    half = cluster.transaction()

    loose = await result(cluster, "simulateTransaction", half, B64)
    strict = await result(cluster, "simulateTransaction", half, {**B64, "sigVerify": True})

    assert (loose["value"]["err"], strict["value"]["err"]) == (None, "SignatureFailure")


async def test_the_library_reads_what_landed(cluster: SolanaSandbox) -> None:
    name = await result(cluster, "sendTransaction", signed(cluster, cluster.transaction(7)), B64)
    confirmed = {"commitment": "confirmed"}

    statuses = GetSignatureStatusesResp.from_json(
        await raw(cluster, "getSignatureStatuses", [name, UNKNOWN])
    )
    entries = GetSignaturesForAddressResp.from_json(
        await raw(cluster, "getSignaturesForAddress", token_account(PAY_TO, SOLANA.usdc), confirmed)
    )
    shown = GetTransactionResp.from_json(
        await raw(cluster, "getTransaction", name, {**B64, **confirmed})
    )

    assert statuses.value[0] is not None
    assert (statuses.value[0].err, statuses.value[1]) == (None, None)
    assert str(entries.value[0].signature) == name
    assert shown.value is not None
    meta = shown.value.transaction.meta
    assert meta is not None
    assert meta.post_token_balances is not None
    amounts = {held.ui_token_amount.amount for held in meta.post_token_balances}
    assert amounts == {"7", str(MUCH - 7)}


async def test_an_accounts_transactions_come_newest_first_and_in_pages(
    cluster: SolanaSandbox,
) -> None:
    account = token_account(str(BUYER.pubkey()), SOLANA.usdc)
    names = [cluster.carry(cluster.transaction(amount)) for amount in (1, 2, 3)]
    how = {"commitment": "confirmed", "limit": 2}

    page = await result(cluster, "getSignaturesForAddress", account, how)
    rest = await result(
        cluster, "getSignaturesForAddress", account, {**how, "before": page[-1]["signature"]}
    )

    assert [entry["signature"] for entry in page] == names[:0:-1]
    assert rest[0]["signature"] == names[0]
    assert page[0]["memo"].startswith("[")


async def test_a_transaction_is_final_after_a_while(cluster: SolanaSandbox) -> None:
    name = cluster.carry(cluster.transaction())
    early = await result(cluster, "getSignatureStatuses", [name])
    hidden = await result(cluster, "getTransaction", name, B64)
    cluster.clock.advance(20_000)
    late = await result(cluster, "getSignatureStatuses", [name])

    assert early["value"][0]["confirmationStatus"] == "confirmed"
    assert hidden is None
    assert late["value"][0]["confirmationStatus"] == "finalized"
    assert late["value"][0]["confirmations"] is None


async def test_what_would_fail_is_refused_before_it_is_sent(cluster: SolanaSandbox) -> None:
    bad = signed(cluster, cluster.transaction(MUCH + 1))
    call = {"id": 3, "method": "sendTransaction", "params": [bad, B64]}

    reply = await post(cluster, call)

    assert reply["error"]["code"] == -32002
    assert reply["error"]["data"]["err"] == {"InstructionError": [2, {"Custom": 1}]}
    assert cluster.received() == 0


async def test_without_that_check_a_hopeless_transaction_has_a_name_and_no_trace(
    cluster: SolanaSandbox,
) -> None:
    half = cluster.transaction()

    name = await result(cluster, "sendTransaction", half, {**B64, "skipPreflight": True})

    assert (await result(cluster, "getSignatureStatuses", [name]))["value"] == [None]


async def test_balances_are_in_lamports_and_in_dollars(cluster: SolanaSandbox) -> None:
    account = token_account(str(BUYER.pubkey()), SOLANA.usdc)
    held = (await result(cluster, "getTokenAccountBalance", account))["value"]
    owned = await result(
        cluster, "getTokenAccountsByOwner", str(BUYER.pubkey()), {"mint": SOLANA.usdc}, B64
    )

    assert (held["amount"], held["uiAmountString"]) == (str(MUCH), "1")
    assert owned["value"][0]["pubkey"] == account
    assert (await result(cluster, "getBalance", str(FEE_PAYER.pubkey())))["value"] == 10**9


async def test_rent_is_what_accounts_hold(cluster: SolanaSandbox) -> None:
    assert await result(cluster, "getMinimumBalanceForRentExemption", 165) == 2_039_280


async def test_a_list_of_calls_is_answered_in_order(cluster: SolanaSandbox) -> None:
    calls = [{"id": 1, "method": "getHealth"}, {"id": 2, "method": "getLuck"}, "garbage"]

    replies = await post(cluster, calls)

    assert [reply.get("error", {}).get("code") for reply in replies] == [None, -32601, -32600]


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("getAccountInfo", []),
        ("getAccountInfo", ["nobody"]),
        ("getBalance", [5]),
        ("getSignatureStatuses", ["one"]),
        ("getSignatureStatuses", [["one"]]),
        ("getTransaction", [None]),
        ("isBlockhashValid", [0]),
        ("sendTransaction", ["AAAA", B64]),
        ("simulateTransaction", ["%", B64]),
        ("getMinimumBalanceForRentExemption", ["much"]),
    ],
)
async def test_bad_parameters_are_an_error_and_no_crash(
    cluster: SolanaSandbox, method: str, params: list[object]
) -> None:
    reply = await post(cluster, {"id": 1, "method": method, "params": params})

    assert reply["error"]["code"] == -32602


async def test_a_node_that_is_switched_off_says_nothing(cluster: SolanaSandbox) -> None:
    cluster.faults.chain_unreadable = True

    with pytest.raises(ConnectionError):
        await SolanaNode(cluster.chain, cluster.faults).call("getHealth", [])
