"""EVM wallets, held against the library that wallets are made with."""

from __future__ import annotations

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from hypothesis import given
from hypothesis import strategies as st

from adapters.http.evm import checksummed, text_signer

# Throwaway: 32 bytes of 1.
WALLET = Account.from_key(b"\x01" * 32)
# The examples of ERC-55.
CHECKSUMMED = (
    "0x52908400098527886E0F7030069857D2E4169EE7",
    "0xde709f2102306220921060314715629080e2fb77",
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
)


def signature_of(text: str) -> bytes:
    return bytes(WALLET.sign_message(encode_defunct(text=text)).signature)


@given(st.text(max_size=200))
def test_whoever_signed_a_text_is_found(text: str) -> None:
    assert text_signer(text, signature_of(text)) == WALLET.address.lower()


@given(place=st.integers(0, 64), bits=st.integers(1, 255))
def test_a_changed_signature_is_nobodys_or_another_wallets(place: int, bits: int) -> None:
    raw = bytearray(signature_of("text"))
    raw[place] ^= bits

    # The other way to write the same recovery id is no change.
    same = bytes(raw[:64]) == signature_of("text")[:64] and raw[64] % 27 == (
        signature_of("text")[64] % 27
    )
    assert same or text_signer("text", bytes(raw)) != WALLET.address.lower()


@pytest.mark.parametrize("recovery_id", [2, 3, 26, 29, 255])
def test_a_recovery_id_that_no_wallet_writes_is_nobodys(recovery_id: int) -> None:
    raw = signature_of("text")[:64] + bytes([recovery_id])

    assert text_signer("text", raw) is None


def test_text_that_cannot_be_written_down_is_nobodys() -> None:
    assert text_signer("\ud800", signature_of("text")) is None


@pytest.mark.parametrize("address", CHECKSUMMED)
def test_an_address_is_shown_with_its_checksum(address: str) -> None:
    assert checksummed(address.lower()) == address
