"""Our own fee payer: what it takes for paid, and what it knows when answers are lost."""

from __future__ import annotations

import base64

import pytest
from solders.transaction import VersionedTransaction

from adapters.rails.networks import SOLANA
from adapters.rails.node_line import NodeRefusedError, NodeSilentError
from adapters.rails.solana_signer import SolanaSigner, TransactionFailedError
from tests.fakes.solana_sandbox import FEE_PAYER, SolanaSandbox

NETWORK = SOLANA.caip2
NAME = "1" * 88


class Scripted:
    """A node that gives these answers in turn; an exception among them is raised."""

    def __init__(self, *answers: object) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, method: str, params: list[object]) -> object:
        assert params
        self.asked.append(method)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def status(level: str, error: object = None) -> dict[str, object]:
    return {"value": [{"confirmationStatus": level, "err": error, "slot": 1}]}


@pytest.fixture
def signed() -> str:
    cluster = SolanaSandbox()
    half = cluster.transaction()
    return cluster.signer.sign_transaction(half, str(FEE_PAYER.pubkey()), NETWORK)


def name_of(transaction: str) -> str:
    return str(VersionedTransaction.from_bytes(base64.b64decode(transaction)).signatures[0])


def test_confirmed_without_an_error_is_paid() -> None:
    SolanaSigner(FEE_PAYER, Scripted(status("confirmed"))).confirm_transaction(NAME, NETWORK)


@pytest.mark.parametrize("level", ["confirmed", "finalized"])
def test_the_error_is_looked_at_before_the_confirmation(level: str) -> None:
    error = {"InstructionError": [2, {"Custom": 1}]}
    signer = SolanaSigner(FEE_PAYER, Scripted(status(level, error)))

    with pytest.raises(TransactionFailedError, match="Custom"):
        signer.confirm_transaction(NAME, NETWORK)
    assert signer.failure(NAME) == str(error)


def test_a_failure_on_a_fork_is_no_failure_yet() -> None:
    node = Scripted(status("processed", "AccountNotFound"), status("confirmed"))
    signer = SolanaSigner(FEE_PAYER, node)

    signer.confirm_transaction(NAME, NETWORK)

    assert signer.failure(NAME) is None


def test_what_is_not_seen_is_neither_paid_nor_failed() -> None:
    node = Scripted({"value": [None]}, NodeSilentError("late"))
    signer = SolanaSigner(FEE_PAYER, node, confirm_s=0.5)

    with pytest.raises(TimeoutError):
        signer.confirm_transaction(NAME, NETWORK)
    assert signer.failure(NAME) is None


def test_a_transaction_has_its_name_even_where_sending_has_no_answer(signed: str) -> None:
    node = Scripted(NodeSilentError("lost"), NodeSilentError("lost"))

    assert SolanaSigner(FEE_PAYER, node).send_transaction(signed, NETWORK) == name_of(signed)
    assert node.asked == ["sendTransaction"] * 2


def test_a_sent_transaction_is_sent_once(signed: str) -> None:
    node = Scripted(name_of(signed))

    SolanaSigner(FEE_PAYER, node).send_transaction(signed, NETWORK)

    assert node.asked == ["sendTransaction"]


def test_what_nobody_has_seen_is_sent_again_while_it_is_waited_for(signed: str) -> None:
    unseen: dict[str, object] = {"value": [None]}
    node = Scripted(name_of(signed), *[unseen] * 5, NodeSilentError("busy"), status("confirmed"))
    signer = SolanaSigner(FEE_PAYER, node)
    name = signer.send_transaction(signed, NETWORK)

    signer.confirm_transaction(name, NETWORK)

    assert node.asked.count("sendTransaction") == 2


def test_who_waits_is_let_go_at_the_end(signed: str) -> None:
    signer = SolanaSigner(FEE_PAYER, Scripted({"value": [None]}))
    signer.close()

    with pytest.raises(TimeoutError):
        signer.confirm_transaction(name_of(signed), NETWORK)


def test_a_node_that_refuses_has_sent_nothing(signed: str) -> None:
    with pytest.raises(NodeRefusedError):
        SolanaSigner(FEE_PAYER, Scripted(NodeRefusedError("no"))).send_transaction(signed, NETWORK)


@pytest.mark.parametrize("answer", [{"value": {"err": "BlockhashNotFound"}}, {"value": None}, 5])
def test_a_simulation_without_a_clear_success_is_a_failure(signed: str, answer: object) -> None:
    with pytest.raises(RuntimeError, match="simulation failed"):
        SolanaSigner(FEE_PAYER, Scripted(answer)).simulate_transaction(signed, NETWORK)


def test_a_simulation_that_succeeds_says_nothing(signed: str) -> None:
    node = Scripted({"value": {"err": None, "logs": []}})

    SolanaSigner(FEE_PAYER, node).simulate_transaction(signed, NETWORK)

    assert node.asked == ["simulateTransaction"]
