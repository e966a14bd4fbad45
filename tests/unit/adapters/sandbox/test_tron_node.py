"""The sandbox's TRON node believes nobody: what is sent must be signed by whoever it is from."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from tronpy.keys import PrivateKey
from tronpy.proto import calculate_txid_from_raw_data

from adapters.rails.tron_networks import TRON_MAINNET
from adapters.sandbox.tron_chain import revert_reason
from adapters.sandbox.tron_transactions import account_of, address_of, read_transaction
from tests.fakes.tron_sandbox import BUYER, BUYER_KEY, TronSandbox, tron_sandbox

pytestmark = pytest.mark.anvil

KEY = PrivateKey(BUYER_KEY)
OTHER = PrivateKey(b"\x44" * 32)
ELSEWHERE = OTHER.public_key.to_base58check_address()


@pytest.fixture
async def sandbox() -> AsyncIterator[TronSandbox]:
    async with tron_sandbox() as opened:
        yield opened


async def written(sandbox: TronSandbox, amount: int = 5, **fields: object) -> dict[str, Any]:
    """A transfer of USDT to somewhere else, as the node writes it for a wallet."""
    to, many = account_of(ELSEWHERE).hex().rjust(64, "0"), f"{amount:064x}"
    answer: dict[str, Any] = await sandbox.network.reader.answer(
        "wallet/triggersmartcontract",
        {
            "owner_address": BUYER,
            "contract_address": TRON_MAINNET.usdt,
            "function_selector": "transfer(address,uint256)",
            "parameter": to + many,
            "visible": True,
        }
        | fields,
    )
    transaction: dict[str, Any] = answer["transaction"]
    return transaction


def signed(transaction: dict[str, Any], key: PrivateKey = KEY) -> dict[str, Any]:
    digest = bytes.fromhex(transaction["txID"])
    return transaction | {"signature": [key.sign_msg_hash(digest).hex()]}


async def sent(sandbox: TronSandbox, transaction: dict[str, Any]) -> dict[str, Any]:
    return await sandbox.network.reader.answer("wallet/broadcasttransaction", transaction)


async def test_a_signed_transfer_moves_dollars(sandbox: TronSandbox) -> None:
    answer = await sent(sandbox, signed(await written(sandbox)))

    assert answer["result"] is True
    assert await sandbox.network.balance(ELSEWHERE) == 5


async def test_a_transaction_has_the_name_that_tronpy_gives_it(sandbox: TronSandbox) -> None:
    transaction = await written(sandbox)

    assert transaction["txID"] == calculate_txid_from_raw_data(transaction["raw_data"])


async def test_somebody_elses_signature_sends_nothing(sandbox: TronSandbox) -> None:
    answer = await sent(sandbox, signed(await written(sandbox), OTHER))

    assert (answer["result"], answer["code"]) == (False, "SIGERROR")
    assert await sandbox.network.balance(ELSEWHERE) == 0


@pytest.mark.parametrize("signature", [[], ["00"], ["zz" * 65], [None], "00"])
async def test_no_signature_sends_nothing(sandbox: TronSandbox, signature: object) -> None:
    answer = await sent(sandbox, await written(sandbox) | {"signature": signature})

    assert answer["code"] == "SIGERROR"


async def test_a_transaction_changed_after_it_was_signed_is_another(sandbox: TronSandbox) -> None:
    transaction = signed(await written(sandbox))
    value = transaction["raw_data"]["contract"][0]["parameter"]["value"]
    value["data"] = value["data"][:-1] + "9"

    assert (await sent(sandbox, transaction))["code"] == "SIGERROR"


async def test_a_transaction_is_mined_once(sandbox: TronSandbox) -> None:
    transaction = signed(await written(sandbox))
    await sent(sandbox, transaction)

    again = await sent(sandbox, transaction)

    assert again["code"] == "DUP_TRANSACTION_ERROR"
    assert await sandbox.network.balance(ELSEWHERE) == 5


async def test_a_transaction_waits_a_minute_to_be_signed(sandbox: TronSandbox) -> None:
    transaction = signed(await written(sandbox))
    sandbox.clock.advance(60_000)

    assert (await sent(sandbox, transaction))["code"] == "TRANSACTION_EXPIRATION_ERROR"


async def test_a_refused_call_is_mined_and_says_so(sandbox: TronSandbox) -> None:
    transaction = signed(await written(sandbox, amount=10**12))
    await sent(sandbox, transaction)

    known = await sandbox.network.reader.answer(
        "wallet/gettransactioninfobyid", {"value": transaction["txID"]}
    )

    assert (known["result"], known["log"]) == ("FAILED", [])


async def test_trx_moves_and_cannot_be_overdrawn(sandbox: TronSandbox) -> None:
    for amount, result in ((1_000_000, True), (10**12, False)):
        transaction = transfer_of_trx(sandbox, amount)
        assert (await sent(sandbox, transaction))["result"] is result

    there = await sandbox.network.reader.answer("wallet/getaccount", {"address": ELSEWHERE})
    assert there["balance"] == 1_000_000


def transfer_of_trx(sandbox: TronSandbox, amount: int) -> dict[str, Any]:
    raw_data: dict[str, Any] = {
        "contract": [
            {
                "parameter": {
                    "value": {
                        "owner_address": KEY.public_key.to_hex_address(),
                        "to_address": OTHER.public_key.to_hex_address(),
                        "amount": amount,
                    },
                    "type_url": "type.googleapis.com/protocol.TransferContract",
                },
                "type": "TransferContract",
            }
        ],
        "ref_block_bytes": "0001",
        "ref_block_hash": "00" * 8,
        "expiration": sandbox.clock.now_ms() + 1_000,
        "timestamp": sandbox.clock.now_ms(),
    }
    return signed({"txID": read_transaction(raw_data).id, "raw_data": raw_data})


@pytest.mark.parametrize(
    "raw_data",
    [
        None,
        {},
        {"contract": []},
        {"contract": [{"type": "VoteWitnessContract", "parameter": {"value": {}}}]},
        {"contract": [{"type": "TransferContract", "parameter": {"value": {}}}]},
        {
            "contract": [
                {
                    "type": "TransferContract",
                    "parameter": {"value": {"owner_address": "x", "to_address": "y"}},
                }
            ]
        },
    ],
)
async def test_what_is_no_transaction_is_told_apart(sandbox: TronSandbox, raw_data: object) -> None:
    answer = await sent(sandbox, {"raw_data": raw_data, "signature": []})

    assert "Error" in answer


async def test_a_constant_call_tells_why_it_was_refused(sandbox: TronSandbox) -> None:
    to, many = account_of(ELSEWHERE).hex().rjust(64, "0"), f"{10**12:064x}"
    answer: dict[str, Any] = await sandbox.network.reader.answer(
        "wallet/triggerconstantcontract",
        {
            "owner_address": BUYER,
            "contract_address": TRON_MAINNET.usdt,
            "function_selector": "transfer(address,uint256)",
            "parameter": to + many,
        },
    )

    assert revert_reason(bytes.fromhex(answer["constant_result"][0])) == "not enough balance"
    assert "not enough balance" in bytes.fromhex(answer["result"]["message"]).decode()


async def test_the_node_answers_over_http_too(sandbox: TronSandbox) -> None:
    async with httpx.AsyncClient(base_url=str(sandbox.node.make_url("/"))) as client:
        head = await client.post("/wallet/getnowblock", json={})
        seen = await client.get("/wallet/getnowblock")
        garbage = await client.post("/wallet/getnowblock", content=b"{")
        other = await client.post("/wallet/getnowblock", json=[])
        unknown = await client.post("/wallet/createwitness", json={})

    assert head.json()["block_header"]["raw_data"]["number"] > 0
    assert seen.status_code == 200
    assert (garbage.status_code, other.status_code) == (400, 400)
    assert "does not answer" in unknown.json()["Error"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"method": "eth_mine"}, -32601),
        ({"method": "eth_getLogs", "params": []}, -32602),
        ({"method": "eth_getLogs", "params": [{"fromBlock": "x"}]}, -32602),
        ({}, -32601),
    ],
    ids=str,
)
async def test_json_rpc_refuses_in_its_own_way(
    sandbox: TronSandbox, body: dict[str, object], code: int
) -> None:
    answer: dict[str, Any] = await sandbox.network.reader.answer("jsonrpc", body)

    assert answer["error"]["code"] == code


@pytest.mark.parametrize("spelling", ["4119e7e376e7c213b7e7e7e46cc70a5dd086daff2a", BUYER])
def test_the_node_knows_both_spellings_of_an_address(spelling: str) -> None:
    assert address_of(account_of(spelling)) == BUYER
    assert address_of(account_of(spelling), visible=False) == KEY.public_key.to_hex_address()


async def test_money_out_of_nothing_needs_an_address_and_an_amount(sandbox: TronSandbox) -> None:
    with pytest.raises(ValueError, match="positive"):
        await sandbox.network.fund(BUYER, 0)
    with pytest.raises(ValueError, match=r".+"):
        await sandbox.network.fund("nobody", 1)
