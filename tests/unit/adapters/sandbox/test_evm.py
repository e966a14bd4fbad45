from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from eth_abi.abi import encode
from eth_account import Account
from eth_utils.crypto import keccak

from adapters.sandbox.evm import (
    FEE_VAULT,
    GAS_PRICE_WEI,
    USDC,
    RevertedError,
    SandboxChain,
    SendRefusedError,
)
from tests.fakes.sandbox import JumpingClock, Sandbox, signed_again, submission, submit

ALICE = "0x" + "aa" * 20
BOB = "0x" + "bb" * 20


@pytest.fixture
def clock() -> JumpingClock:
    return JumpingClock()


@pytest.fixture
def chain(clock: JumpingClock) -> SandboxChain:
    return SandboxChain(clock)


def transfer(to: str, amount: int) -> bytes:
    return keccak(text="transfer(address,uint256)")[:4] + encode(
        ["address", "uint256"], [to, amount]
    )


def test_minted_money_is_there(chain: SandboxChain) -> None:
    chain.mint(ALICE, 7)

    assert chain.balance(ALICE) == 7


def test_nobody_else_mints(chain: SandboxChain) -> None:
    data = keccak(text="mint(address,uint256)")[:4] + encode(["address", "uint256"], [ALICE, 1])

    with pytest.raises(RevertedError, match="not a minter"):
        chain.read(to=USDC, data=data, caller=ALICE)


def test_a_transfer_moves_money_and_leaves_a_log(chain: SandboxChain) -> None:
    chain.mint(ALICE, 7)
    chain.fund_gas(ALICE)

    receipt = chain.receipt(chain.transact(caller=ALICE, to=USDC, data=transfer(BOB, 3)))

    assert (chain.balance(ALICE), chain.balance(BOB)) == (4, 3)
    assert receipt is not None
    assert [log.address for log in receipt.logs] == [USDC.lower()]


def test_reading_changes_nothing(chain: SandboxChain) -> None:
    chain.mint(ALICE, 7)

    chain.read(to=USDC, data=transfer(BOB, 3), caller=ALICE)

    assert chain.balance(ALICE) == 7


def test_a_reverted_transaction_is_mined_without_effect(chain: SandboxChain) -> None:
    chain.fund_gas(ALICE)

    receipt = chain.receipt(chain.transact(caller=ALICE, to=USDC, data=transfer(BOB, 3)))

    assert receipt is not None
    assert (receipt.succeeded, receipt.logs) == (False, ())
    assert chain.balance(BOB) == 0


@pytest.mark.parametrize("amount", [0, 1_000])
def test_gas_is_paid_for_success_and_failure_alike(chain: SandboxChain, amount: int) -> None:
    chain.fund_gas(ALICE, 10**18)

    receipt = chain.receipt(chain.transact(caller=ALICE, to=USDC, data=transfer(BOB, amount)))

    assert receipt is not None
    fee = receipt.gas_used * GAS_PRICE_WEI
    assert chain.balance_wei(ALICE) == 10**18 - fee
    assert chain.balance_wei(FEE_VAULT) == fee


def test_who_cannot_pay_gas_is_turned_away(chain: SandboxChain) -> None:
    chain.mint(ALICE, 7)

    with pytest.raises(SendRefusedError, match="insufficient funds"):
        chain.transact(caller=ALICE, to=USDC, data=transfer(BOB, 3))


def test_time_is_the_clocks(chain: SandboxChain, clock: JumpingClock) -> None:
    before = chain.block_time_s(chain.head())
    clock.advance(5_000)
    after = chain.block_time_s(chain.head())

    assert before is not None
    assert after == before + 5


def test_many_threads_lose_no_transaction(chain: SandboxChain) -> None:
    with ThreadPoolExecutor(8) as pool:
        hashes = list(pool.map(lambda _: chain.mint(ALICE, 1), range(64)))

    assert chain.balance(ALICE) == len(set(hashes)) == 64


def test_a_chain_grows_again_from_its_journal(tmp_path: Path, clock: JumpingClock) -> None:
    first = SandboxChain(clock, journal=tmp_path / "chain.jsonl")
    transaction = first.mint(ALICE, 7)
    clock.advance(60_000)
    first.head()
    first.fund_gas(ALICE)
    first.transact(caller=ALICE, to=USDC, data=transfer(BOB, 3))
    first.transact(caller=ALICE, to=USDC, data=transfer(BOB, 300))

    again = SandboxChain(clock, journal=tmp_path / "chain.jsonl")

    assert (again.balance(ALICE), again.balance(BOB)) == (4, 3)
    assert again.receipt(transaction) == first.receipt(transaction)
    assert again.logs(first_block=0, last_block=99) == first.logs(first_block=0, last_block=99)
    assert again.balance_wei(ALICE) == first.balance_wei(ALICE)
    assert again.head() == first.head()


def test_a_torn_line_was_never_mined(tmp_path: Path, clock: JumpingClock) -> None:
    path = tmp_path / "chain.jsonl"
    SandboxChain(clock, journal=path).mint(ALICE, 7)
    with path.open("ab") as file:
        file.write(b'{"block": 2, "ti')

    torn = SandboxChain(clock, journal=path)
    torn.mint(ALICE, 1)

    assert SandboxChain(clock, journal=path).balance(ALICE) == 8


async def test_an_authorization_works_once() -> None:
    sandbox = Sandbox()
    payment = await sandbox.pay()

    submit(sandbox.chain, payment)

    with pytest.raises(RevertedError, match="authorization is used or canceled"):
        sandbox.chain.read(to=USDC, data=submission(payment))
    assert sandbox.received() == 100_000


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"validBefore": "1"}, "authorization is expired"),
        ({"validAfter": "9999999999"}, "authorization is not yet valid"),
        ({"value": "1000001"}, "transfer amount exceeds balance"),
        ({"to": "0x" + "00" * 20}, "transfer to the zero address"),
    ],
)
async def test_the_token_refuses_in_usdcs_words(fields: dict[str, str], words: str) -> None:
    sandbox = Sandbox()
    payment = signed_again(await sandbox.pay(), sandbox.buyer, **fields)

    with pytest.raises(RevertedError, match=words):
        sandbox.chain.read(to=USDC, data=submission(payment))


async def test_the_token_refuses_a_strangers_signature() -> None:
    sandbox = Sandbox()
    payment = signed_again(await sandbox.pay(), Account.create())

    with pytest.raises(RevertedError, match="invalid signature"):
        sandbox.chain.read(to=USDC, data=submission(payment))
