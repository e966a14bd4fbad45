"""The sandbox cluster behaves as the real one where money depends on it."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from solders.keypair import Keypair
from solders.transaction import VersionedTransaction

from adapters.rails.networks import SOLANA
from adapters.sandbox.solana import BLOCKHASH_SLOTS, SLOT_MS, SolanaChain, SolanaRefusedError
from tests.fakes.sandbox import JumpingClock
from tests.fakes.solana_sandbox import BUYER, FEE_PAYER, FEES, MUCH, PAY_TO, SolanaSandbox


@pytest.fixture
def cluster() -> SolanaSandbox:
    return SolanaSandbox()


def signed(cluster: SolanaSandbox, half: str) -> VersionedTransaction:
    whole = cluster.signer.sign_transaction(half, str(FEE_PAYER.pubkey()), SOLANA.caip2)
    return VersionedTransaction.from_bytes(base64.b64decode(whole))


def test_a_payment_moves_dollars_and_the_fee_payer_pays(cluster: SolanaSandbox) -> None:
    cluster.carry(cluster.transaction(100_000))

    assert cluster.chain.balance(PAY_TO) == 100_000
    assert cluster.chain.balance(str(BUYER.pubkey())) == MUCH - 100_000
    # Two signatures; LiteSVM takes nothing for priority.
    assert cluster.chain.lamports(str(FEE_PAYER.pubkey())) == FEES - 10_000


def test_what_fails_is_on_the_chain_and_costs_the_fee(cluster: SolanaSandbox) -> None:
    name = cluster.carry(cluster.transaction(MUCH + 1))

    landed = cluster.chain.find(name)
    assert landed is not None
    assert landed.ran.error == {"InstructionError": [2, {"Custom": 1}]}
    assert cluster.chain.balance(PAY_TO) == 0
    assert cluster.chain.lamports(str(FEE_PAYER.pubkey())) == FEES - 10_000


@pytest.mark.parametrize("amount", [1, MUCH + 1])
def test_a_message_lands_at_most_once(cluster: SolanaSandbox, amount: int) -> None:
    transaction = cluster.transaction(amount)
    cluster.carry(transaction)

    with pytest.raises(SolanaRefusedError, match="AlreadyProcessed"):
        cluster.carry(transaction)


def test_a_blockhash_is_good_for_150_slots_and_no_longer(cluster: SolanaSandbox) -> None:
    early, late = cluster.transaction(1), cluster.transaction(2)
    cluster.clock.advance(BLOCKHASH_SLOTS * SLOT_MS)
    cluster.carry(early)
    cluster.clock.advance(SLOT_MS)

    with pytest.raises(SolanaRefusedError, match="BlockhashNotFound"):
        cluster.carry(late)


def test_a_signature_that_does_not_fit_is_refused(cluster: SolanaSandbox) -> None:
    half = VersionedTransaction.from_bytes(base64.b64decode(cluster.transaction()))

    with pytest.raises(SolanaRefusedError, match="SignatureFailure"):
        cluster.chain.send(half)


def test_a_fee_payer_without_lamports_is_refused(cluster: SolanaSandbox) -> None:
    poor = Keypair()
    half = VersionedTransaction.from_bytes(
        base64.b64decode(cluster.transaction(fee_payer=poor.pubkey()))
    )
    whole = VersionedTransaction(half.message, [poor, BUYER])

    with pytest.raises(SolanaRefusedError, match="AccountNotFound"):
        cluster.chain.send(whole)


def test_a_trial_changes_nothing(cluster: SolanaSandbox) -> None:
    ran = cluster.chain.simulate(signed(cluster, cluster.transaction()))

    assert ran.error is None
    assert cluster.chain.balance(PAY_TO) == 0


def test_two_gifts_alike_are_two(cluster: SolanaSandbox) -> None:
    anybody = str(Keypair().pubkey())

    assert cluster.chain.fund(anybody, 5) != cluster.chain.fund(anybody, 5)
    assert cluster.chain.balance(anybody) == 10


def test_a_new_chain_on_the_same_journal_is_the_same_chain(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    old = SolanaSandbox(journal=journal)
    good = old.carry(old.transaction(100_000))
    bad = old.carry(old.transaction(MUCH))

    new = SolanaChain(old.clock, journal=journal)

    for name in (good, bad):
        was, found = old.chain.find(name), new.find(name)
        assert was is not None
        assert found is not None
        assert (found.slot, found.ran, found.tokens_after) == (was.slot, was.ran, was.tokens_after)
    for address in (PAY_TO, str(BUYER.pubkey())):
        assert new.balance(address) == old.chain.balance(address)
    assert [each.signature for each in new.history(PAY_TO)] == [
        each.signature for each in old.chain.history(PAY_TO)
    ]


def test_a_message_of_before_a_restart_lands_no_more_than_once(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    old = SolanaSandbox(journal=journal)
    transaction = old.transaction()
    old.carry(transaction)

    new = SolanaSandbox(clock=old.clock, journal=journal)

    with pytest.raises(SolanaRefusedError, match="AlreadyProcessed"):
        new.carry(transaction)


def test_a_line_torn_by_a_crash_never_happened(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    old = SolanaSandbox(journal=journal)
    balance = old.chain.balance(str(BUYER.pubkey()))
    with journal.open("a") as file:
        file.write('{"slot": 1, "time')

    again = SolanaSandbox(clock=old.clock, journal=journal)
    again.carry(again.transaction(1))

    assert again.chain.balance(str(BUYER.pubkey())) == balance - 1
    assert SolanaChain(old.clock, journal=journal).balance(PAY_TO) == 1


def test_slots_never_go_back() -> None:
    clock = JumpingClock()
    chain = SolanaChain(clock)
    slot = chain.slot()
    clock.at_ms -= 10_000

    assert chain.slot() == slot
