"""The interpreter under the sandbox chain."""

from __future__ import annotations

import subprocess
import sys

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from adapters.sandbox.evm import GAS_LIMIT, USDC, RevertedError, SandboxChain
from tests.fakes.sandbox import JumpingClock

ALICE = "0x" + "aa" * 20
CONTRACT = "0x" + "cc" * 20
# PUSH4 deadbeef, PUSH0, MSTORE, PUSH1 4, PUSH1 28, REVERT: a custom error without words.
CUSTOM_ERROR = bytes.fromhex("63deadbeef5f526004601cfd")
SILENT_REVERT = bytes.fromhex("5f5ffd")
# JUMPDEST, PUSH0, JUMP: for ever.
ENDLESS = bytes.fromhex("5b5f56")
# Error(string) whose string ends too early.
BROKEN_REASON = bytes.fromhex("6308c379a05f526004601cfd")
# TIMESTAMP and NUMBER, one word each.
TIME_AND_NUMBER = bytes.fromhex("425f5243602052" + "60405ff3")


@pytest.fixture
def chain() -> SandboxChain:
    return SandboxChain(JumpingClock())


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (CUSTOM_ERROR, "0xdeadbeef"),
        (BROKEN_REASON, "0x08c379a0"),
        (SILENT_REVERT, "Revert"),
        (ENDLESS, "OutOfGas"),
    ],
)
def test_a_refusal_without_words_is_still_told_as_one(
    chain: SandboxChain, code: bytes, words: str
) -> None:
    chain.place_code(CONTRACT, code)

    with pytest.raises(RevertedError, match=f"execution reverted: {words}"):
        chain.read(to=CONTRACT, data=b"")


def test_a_call_sees_the_next_block_at_the_time_of_the_clock(chain: SandboxChain) -> None:
    chain.place_code(CONTRACT, TIME_AND_NUMBER)

    answer = chain.read(to=CONTRACT, data=b"")

    head = chain.head()
    assert int.from_bytes(answer[:32]) == chain.block_time_s(head)
    assert int.from_bytes(answer[32:]) == head


def test_a_transaction_that_runs_for_ever_costs_all_its_gas(chain: SandboxChain) -> None:
    chain.place_code(CONTRACT, ENDLESS)
    chain.fund_gas(ALICE)

    receipt = chain.receipt(chain.transact(caller=ALICE, to=CONTRACT))

    assert receipt is not None
    assert (receipt.succeeded, receipt.gas_used) == (False, GAS_LIMIT)


def test_gas_is_counted_as_the_chain_counts_it(chain: SandboxChain) -> None:
    chain.fund_gas(ALICE)

    receipt = chain.receipt(chain.transact(caller=ALICE, to=CONTRACT, value_wei=1))

    assert receipt is not None
    assert receipt.gas_used == 21_000


def test_many_transactions_later_all_is_as_it_was(chain: SandboxChain) -> None:
    for number in range(600):
        chain.mint(f"0x{number + 1:040x}", number)

    assert chain.balance(f"0x{600:040x}") == 599
    assert chain.balance(f"0x{2:040x}") == 1
    total = chain.read(to=USDC, data=keccak(text="totalSupply()")[:4])
    assert int.from_bytes(total) == sum(range(600))


def test_a_read_after_a_refusal_sees_nothing_of_it(chain: SandboxChain) -> None:
    chain.mint(ALICE, 5)
    moving = keccak(text="transfer(address,uint256)")[:4] + encode(
        ["address", "uint256"], [CONTRACT, 6]
    )

    with pytest.raises(RevertedError, match="exceeds balance"):
        chain.read(to=USDC, data=moving, caller=ALICE)

    assert (chain.balance(ALICE), chain.balance(CONTRACT)) == (5, 0)


def test_loading_it_leaves_the_depth_of_recursion_alone() -> None:
    # A process of its own: here it was loaded long ago.
    program = """
import sys
from adapters.recursion import keep_recursion_shallow
from adapters.clock import SystemClock
from adapters.sandbox.evm import SandboxChain
keep_recursion_shallow()
before = sys.getrecursionlimit()
SandboxChain(SystemClock())
print(sys.getrecursionlimit() == before)
"""

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.stdout.strip() == "True", done.stderr
