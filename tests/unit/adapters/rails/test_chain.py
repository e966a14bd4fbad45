"""Reading the chain through a node that limits, lags and lies."""

from __future__ import annotations

import pytest

from adapters.rails.chain import EvmChainReader, Landed, Transfer, WrongChainError
from adapters.rails.networks import BASE, BASE_SEPOLIA
from tests.fakes.sandbox import PAY_TO, Sandbox, submit

PAYER = "0x1a642f0e3c3af545e7acbd38b07251b3990914f1"
NONCE = "0x" + "07" * 32


def transfer(**changes: object) -> Transfer:
    fields: dict[str, object] = {
        "asset": BASE.usdc,
        "payer": PAYER,
        "nonce": NONCE,
        "pay_to": PAY_TO,
        "amount": 100_000,
        "since_s": 0,
    }
    return Transfer(**fields | changes)  # type: ignore[arg-type]  # a test's shorthand


class Scripted:
    """A node that answers from a table, and counts what it was asked."""

    def __init__(self, answers: dict[str, object]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, list[object]]] = []

    async def call(self, method: str, params: list[object]) -> object:
        self.asked.append((method, params))
        return self.answers[method]


async def paid(sandbox: Sandbox) -> Transfer:
    payment = await sandbox.pay()
    submit(sandbox.chain, payment)
    return transfer(nonce=payment.payload["authorization"]["nonce"])


async def test_a_settlement_is_found_many_ranges_back(sandbox: Sandbox) -> None:
    wanted = await paid(sandbox)
    for _ in range(25):
        sandbox.clock.advance(2_000)
        sandbox.chain.head()

    found = await EvmChainReader(sandbox.node, log_range_blocks=4).find_settlement(wanted)

    assert isinstance(found, Landed)


async def test_a_search_stops_where_it_cannot_have_happened() -> None:
    node = Scripted(
        {
            "eth_getBlockByNumber": {"number": hex(10_000), "timestamp": hex(1_000)},
            "eth_getLogs": [],
        }
    )

    found = await EvmChainReader(node).find_settlement(transfer(since_s=1_001))

    assert found is None
    assert len([method for method, _ in node.asked if method == "eth_getLogs"]) == 1


async def test_a_search_is_bounded() -> None:
    node = Scripted(
        {
            "eth_getBlockByNumber": {"number": hex(10_000), "timestamp": hex(1_000)},
            "eth_getLogs": [],
        }
    )

    found = await EvmChainReader(node, ranges_max=3).find_settlement(transfer())

    assert found is None
    assert len([method for method, _ in node.asked if method == "eth_getLogs"]) == 3


async def test_a_wrong_amount_is_not_a_settlement(sandbox: Sandbox) -> None:
    wanted = await paid(sandbox)
    reader = EvmChainReader(sandbox.node)

    found = await reader.find_settlement(transfer(nonce=wanted.nonce, amount=wanted.amount + 1))

    assert not isinstance(found, Landed)


async def test_state_and_time_come_from_one_block() -> None:
    node = Scripted(
        {
            "eth_getBlockByNumber": {"number": "0x2a", "timestamp": hex(1_000)},
            "eth_call": "0x" + "0" * 63 + "1",
        }
    )

    state = await EvmChainReader(node).authorization_state(
        asset=BASE.usdc, payer=PAYER, nonce=NONCE
    )

    assert (state.used, state.chain_time_s) == (True, 1_000)
    assert node.asked[1][1][1] == "0x2a"


@pytest.mark.parametrize(
    "answers",
    [
        {"eth_getBlockByNumber": None},
        {"eth_getBlockByNumber": {"number": "0x1"}, "eth_call": "0x0"},
        {"eth_getBlockByNumber": {"number": "0x1", "timestamp": "0x1"}, "eth_call": None},
        {"eth_getBlockByNumber": {}},
    ],
)
async def test_a_node_that_answers_nonsense_cannot_be_read(answers: dict[str, object]) -> None:
    reader = EvmChainReader(Scripted(answers))

    with pytest.raises(ConnectionError):
        await reader.authorization_state(asset=BASE.usdc, payer=PAYER, nonce=NONCE)


@pytest.mark.parametrize("answer", [None, "0x", [None], [{"topics": []}], {}])
async def test_logs_of_nonsense_cannot_be_read(answer: object) -> None:
    block = {"number": "0x1", "timestamp": "0x1"}
    node = Scripted(
        {
            "eth_getBlockByNumber": block,
            "eth_getLogs": answer,
            "eth_getTransactionReceipt": None,
        }
    )

    with pytest.raises(ConnectionError):
        await EvmChainReader(node).find_settlement(transfer())


async def test_a_node_of_another_chain_is_not_believed(sandbox: Sandbox) -> None:
    reader = EvmChainReader(sandbox.node, chain_id=BASE_SEPOLIA.chain_id)

    with pytest.raises(WrongChainError, match="is of chain 8453"):
        await reader.authorization_state(asset=BASE.usdc, payer=PAYER, nonce=NONCE)
    with pytest.raises(WrongChainError):
        await reader.balance(asset=BASE.usdc, holder=PAYER)


async def test_the_chain_is_asked_for_once() -> None:
    node = Scripted({"eth_chainId": hex(BASE.chain_id), "eth_call": "0x07"})
    reader = EvmChainReader(node, chain_id=BASE.chain_id)

    held = [await reader.balance(asset=BASE.usdc, holder=PAYER) for _ in range(2)]

    assert held == [7, 7]
    assert [method for method, _ in node.asked].count("eth_chainId") == 1
