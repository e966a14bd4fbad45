"""What a Solana payment may look like, and nothing else: the fee payer signs all of it."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import Message, MessageAddressTableLookup, MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from adapters.rails.networks import SOLANA
from adapters.rails.solana_transfer import (
    LIGHTHOUSE,
    MEMO_PROGRAM,
    TOKEN_PROGRAM,
    SolanaTransfer,
    token_account,
)
from domain.errors import MalformedError
from tests.fakes.solana_sandbox import BUYER, FEE_PAYER, PAY_TO, TILL, SolanaSandbox

TOKEN_2022 = Pubkey.from_string("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb")
MEMO = Instruction(MEMO_PROGRAM, b"note", [])


@pytest.fixture
def cluster() -> SolanaSandbox:
    return SolanaSandbox()


def parse(transaction: str) -> SolanaTransfer:
    return SolanaTransfer.parse({"transaction": transaction})


def changed(transaction: str, change: Callable[[bytearray], None]) -> str:
    raw = bytearray(base64.b64decode(transaction))
    change(raw)
    return base64.b64encode(raw).decode()


def test_an_honest_payment_is_read_as_it_was_signed(cluster: SolanaSandbox) -> None:
    found = parse(cluster.transaction(250_000))

    assert found.payer == str(BUYER.pubkey())
    assert found.fee_payer == str(FEE_PAYER.pubkey())
    assert found.destination == token_account(PAY_TO, SOLANA.usdc)
    assert (found.mint, found.amount) == (SOLANA.usdc, 250_000)
    assert found.memos[0].startswith(b"note ")


def test_what_the_fee_payer_has_signed_or_not_changes_nothing(cluster: SolanaSandbox) -> None:
    transaction = cluster.transaction()

    def scribble(raw: bytearray) -> None:
        raw[1:65] = b"\xab" * 64

    assert parse(changed(transaction, scribble)) == parse(transaction)


def test_two_messages_are_two_payments(cluster: SolanaSandbox) -> None:
    first, second = (parse(cluster.transaction(amount)) for amount in (100_000, 100_001))

    assert first.key(network="n") != second.key(network="n")


def test_a_priority_fee_is_counted_in_lamports(cluster: SolanaSandbox) -> None:
    assert parse(cluster.transaction(price=1_000_001)).priority_lamports == 20_001


def test_three_instructions_are_enough_and_six_the_most(cluster: SolanaSandbox) -> None:
    least = [*cluster.fees(), cluster.transfer(1)]
    most = [*least, MEMO, Instruction(LIGHTHOUSE, b"", []), Instruction(MEMO_PROGRAM, b"2", [])]

    assert parse(cluster.transaction(steps=least)).memos == ()
    assert parse(cluster.transaction(steps=most)).memos == (b"note", b"2")
    with pytest.raises(MalformedError):
        parse(cluster.transaction(steps=[*most, Instruction(MEMO_PROGRAM, b"3", [])]))


def test_fewer_than_three_instructions_are_refused(cluster: SolanaSandbox) -> None:
    with pytest.raises(MalformedError):
        parse(cluster.transaction(steps=[*cluster.fees()[:1], cluster.transfer(1)]))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_first_three_instructions_have_their_places(cluster: SolanaSandbox, place: int) -> None:
    steps = [*cluster.fees(), cluster.transfer(1), MEMO]
    steps[place] = MEMO

    with pytest.raises(MalformedError):
        parse(cluster.transaction(steps=steps))


def test_a_second_transfer_is_refused(cluster: SolanaSandbox) -> None:
    steps = [*cluster.fees(), cluster.transfer(1), cluster.transfer(2)]

    with pytest.raises(MalformedError, match="instruction 4"):
        parse(cluster.transaction(steps=steps))


def test_a_transfer_of_the_fee_payers_own_coins_is_refused(cluster: SolanaSandbox) -> None:
    gift = TransferParams(from_pubkey=FEE_PAYER.pubkey(), to_pubkey=BUYER.pubkey(), lamports=1)

    with pytest.raises(MalformedError):
        parse(cluster.transaction(steps=[*cluster.fees(), cluster.transfer(1), transfer(gift)]))


def test_no_instruction_is_handed_the_fee_payer(cluster: SolanaSandbox) -> None:
    """It has signed: Lighthouse, for one, can make it pay for an account."""
    handed = [AccountMeta(FEE_PAYER.pubkey(), is_signer=True, is_writable=True)]
    steps = [*cluster.fees(), cluster.transfer(1), Instruction(LIGHTHOUSE, b"\x00", handed)]

    with pytest.raises(MalformedError, match="fee payer"):
        parse(cluster.transaction(steps=steps))


@pytest.mark.parametrize("seed", [0x02, 0x04])
def test_a_third_signer_is_refused(cluster: SolanaSandbox, seed: int) -> None:
    """Wherever the order of the keys puts it: before the payer, or behind."""
    other = Keypair.from_seed(bytes([seed]) * 32).pubkey()
    signs = [AccountMeta(other, is_signer=True, is_writable=False)]
    steps = [*cluster.fees(), cluster.transfer(1), Instruction(MEMO_PROGRAM, b"", signs)]

    with pytest.raises(MalformedError, match="signers"):
        parse(cluster.transaction(steps=steps))


def test_fewer_signatures_than_signers_are_refused(cluster: SolanaSandbox) -> None:
    def tear(raw: bytearray) -> None:
        raw[0] = 1
        del raw[65:129]

    with pytest.raises(MalformedError):
        parse(changed(cluster.transaction(), tear))


def test_other_decimals_than_the_dollars_are_refused(cluster: SolanaSandbox) -> None:
    honest = cluster.transfer(1)
    other = Instruction(TOKEN_PROGRAM, honest.data[:9] + bytes([5]), honest.accounts)

    with pytest.raises(MalformedError, match="decimals"):
        parse(cluster.transaction(steps=[*cluster.fees(), other]))


def test_a_payer_who_pays_the_fee_too_is_refused(cluster: SolanaSandbox) -> None:
    with pytest.raises(MalformedError, match="signers"):
        parse(cluster.transaction(fee_payer=BUYER.pubkey()))


def test_a_signature_of_somebody_else_is_refused(cluster: SolanaSandbox) -> None:
    def forge(raw: bytearray) -> None:
        raw[65:129] = bytes(TILL.sign_message(bytes(raw[129:])))

    with pytest.raises(MalformedError, match="signature"):
        parse(changed(cluster.transaction(), forge))


def test_a_message_changed_after_it_was_signed_is_refused(cluster: SolanaSandbox) -> None:
    def raise_amount(raw: bytearray) -> None:
        place = bytes(raw).index(bytes([12]) + (100_000).to_bytes(8, "little"))
        raw[place + 1] += 1

    with pytest.raises(MalformedError, match="signature"):
        parse(changed(cluster.transaction(), raise_amount))


def test_another_token_program_is_refused(cluster: SolanaSandbox) -> None:
    steps = [*cluster.fees(), cluster.transfer(1, program=TOKEN_2022)]

    with pytest.raises(MalformedError, match="instruction 3"):
        parse(cluster.transaction(steps=steps))


def test_money_from_an_account_that_is_not_the_payers_own_is_refused(
    cluster: SolanaSandbox,
) -> None:
    """Somebody who may spend for another would be credited for it."""
    source = token_account(str(TILL.pubkey()), SOLANA.usdc)
    steps = [*cluster.fees(), cluster.transfer(1, source=source)]

    with pytest.raises(MalformedError, match="source"):
        parse(cluster.transaction(steps=steps))


def test_an_unchecked_transfer_is_refused(cluster: SolanaSandbox) -> None:
    honest = cluster.transfer(1)
    bare = Instruction(TOKEN_PROGRAM, bytes([3]) + honest.data[1:9], honest.accounts)

    with pytest.raises(MalformedError, match="instruction 3"):
        parse(cluster.transaction(steps=[*cluster.fees(), bare]))


def test_more_accounts_than_a_transfer_has_are_refused(cluster: SolanaSandbox) -> None:
    honest = cluster.transfer(1)
    extra = AccountMeta(TILL.pubkey(), is_signer=False, is_writable=False)
    steps = Instruction(TOKEN_PROGRAM, honest.data, [*honest.accounts, extra])

    with pytest.raises(MalformedError, match="4 accounts"):
        parse(cluster.transaction(steps=[*cluster.fees(), steps]))


def test_a_legacy_transaction_is_refused(cluster: SolanaSandbox) -> None:
    steps = [*cluster.fees(), cluster.transfer(1)]
    message = Message.new_with_blockhash(steps, FEE_PAYER.pubkey(), Hash.default())
    signature = BUYER.sign_message(bytes(message))
    old = VersionedTransaction.populate(message, [Signature.default(), signature])

    with pytest.raises(MalformedError, match="version 0"):
        parse(base64.b64encode(bytes(old)).decode())


def test_a_lookup_table_is_refused(cluster: SolanaSandbox) -> None:
    """What it lists can change between our reading and the chain's."""
    honest = VersionedTransaction.from_bytes(base64.b64decode(cluster.transaction())).message
    assert isinstance(honest, MessageV0)
    message = MessageV0(
        honest.header,
        honest.account_keys,
        honest.recent_blockhash,
        honest.instructions,
        [MessageAddressTableLookup(Keypair().pubkey(), bytes([0]), b"")],
    )
    signature = BUYER.sign_message(to_bytes_versioned(message))
    tabled = VersionedTransaction.populate(message, [Signature.default(), signature])

    with pytest.raises(MalformedError, match="lookup"):
        parse(base64.b64encode(bytes(tabled)).decode())


def test_bytes_after_the_transaction_are_refused(cluster: SolanaSandbox) -> None:
    with pytest.raises(MalformedError):
        parse(changed(cluster.transaction(), lambda raw: raw.extend(b"\x00")))


@pytest.mark.parametrize("garbage", ["", "AAAA", "not base64", "/" * 1_644, "A" * 1_700])
def test_what_is_no_transaction_is_malformed(garbage: str) -> None:
    with pytest.raises(MalformedError):
        parse(garbage)


def test_every_broken_byte_is_a_clear_refusal(cluster: SolanaSandbox) -> None:
    """No library error gets out, whatever of the message is torn."""
    whole = base64.b64decode(cluster.transaction())

    for place in range(65, len(whole)):
        torn = whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
        with pytest.raises(MalformedError):
            parse(base64.b64encode(torn).decode())


@pytest.mark.parametrize("payload", [{}, {"transaction": 5}, {"transaction": "AA", "more": 1}])
def test_a_payload_is_a_transaction_and_nothing_else(payload: dict[str, object]) -> None:
    with pytest.raises(MalformedError):
        SolanaTransfer.parse(payload)
