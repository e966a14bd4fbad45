from __future__ import annotations

import base58
import pytest
from tronpy.keys import PrivateKey, Signature

from adapters.http.identity import canonical_wallet, shown_wallet, signed_by
from adapters.http.tron import text_signer

# Throwaway: 32 bytes of 0x11. Nobody should send anything to it.
KEY = PrivateKey(b"\x11" * 32)
ADDRESS = "TCLBgkbfVkJroVBJVqBEsxtPNQEQMTQCLQ"
MESSAGE = "GET\n/v1/account\n1700000000"
# What TronWeb's signMessageV2 and, below, its older signMessage make of it.
V2 = (
    "56b93d9b7a28328d8521c42d6c958799d784a0016fcca4e59ef752d9036a51dc"
    "26318dc73cbbaa1cb0cb012c1f6c439ecc05050f509610d15a7635257ea7b5601b"
)
V1 = (
    "1563335dcb93488582cef30c47b557f06a4e519789fe424a8147b205f924150b"
    "3b65031e9af348c5f832f0db00b456dadc04e4f6867c16e5ef08e0a1d22266321b"
)
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def is_signed(signature: str, message: str = MESSAGE) -> bool:
    return signed_by("tron", ADDRESS, signature, message)


@pytest.mark.parametrize("prefix", ["", "0x"])
def test_a_signature_of_tronweb_counts_with_and_without_its_prefix(prefix: str) -> None:
    assert is_signed(prefix + V2)


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 99, 100, 1_000])
def test_a_text_of_any_length_is_known_as_tronpy_signs_it(length: int) -> None:
    text = "é" * (length // 2) + "e" * (length % 2)

    signature = bytes.fromhex(KEY.sign_msg(text.encode()).hex())

    assert text_signer(text, signature) == ADDRESS


def test_every_signer_is_named_as_tronpy_names_it() -> None:
    for number in range(1, 40):
        key = PrivateKey(number.to_bytes(32))
        signature = bytes.fromhex(key.sign_msg(MESSAGE.encode()).hex())

        assert text_signer(MESSAGE, signature) == key.public_key.to_base58check_address()


def test_a_signature_of_the_older_kind_is_refused() -> None:
    assert not is_signed("0x" + V1)


def test_the_older_kind_is_the_same_thing_for_32_bytes_and_so_counts_there() -> None:
    text = "POST\n/v1/webrtc/token\n1700000000"
    assert len(text) == 32

    assert is_signed(KEY.sign_msg(text.encode()).tronweb_hex(), text)


@pytest.mark.parametrize(("v", "other_v"), [("1b", "00"), ("1c", "01")])
def test_the_recovery_id_counts_from_27_or_from_0(v: str, other_v: str) -> None:
    rest, own_v = V2[:-2], V2[-2:]

    assert is_signed(rest + v) == is_signed(rest + other_v) == (own_v == v)


def test_the_twin_of_a_signature_is_refused_though_it_recovers() -> None:
    twin = f"{ORDER - int(V2[64:128], 16):064x}"
    raw = V2[:64] + twin + "01"
    recovered = Signature(bytes.fromhex(raw)).recover_public_key_from_msg(MESSAGE.encode())
    assert recovered.to_base58check_address() == ADDRESS

    assert not is_signed(raw)


def test_a_personal_message_of_the_evm_is_another_text() -> None:
    from eth_account import Account  # noqa: PLC0415 (one test needs it)
    from eth_account.messages import encode_defunct  # noqa: PLC0415 (one test needs it)

    signed = Account.sign_message(encode_defunct(text=MESSAGE), b"\x11" * 32)

    assert not is_signed(signed.signature.hex())


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "0x",
        "0x0x" + V2,
        V2[:-2],
        V2 + "00",
        V2 + "\n",
        V2[:-2] + "1d",
        V2[:-2] + "02",
        "00" * 65,
        "ff" * 64 + "1b",
        f"{ORDER:064x}" + V2[64:],
        V2[:64] + "00" * 32 + "1b",
        "zz" * 65,
        "é" * 130,
    ],
)
def test_garbage_is_nobodys_signature(signature: str) -> None:
    assert not is_signed(signature)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "41" + "00" * 20,
        "0x" + "00" * 20,
        ADDRESS[:-1],
        ADDRESS + "1",
        ADDRESS + " ",
        ADDRESS[:-1] + "\n",
        ADDRESS.lower(),
        ADDRESS[:-1] + ("R" if ADDRESS[-1] != "R" else "S"),
        "T" + "0" * 33,
        base58.b58encode_check(b"\x00" + b"\x01" * 20).decode(),
        base58.b58encode_check(b"\x42" + b"\x01" * 20).decode(),
        "1" * 8_000,
        "TéLBgkbfVkJroVBJVqBEsxtPNQEQMTQCLQ",
    ],
)
def test_other_text_is_no_tron_address(address: str) -> None:
    assert canonical_wallet("tron", address) is None


def test_an_address_is_kept_and_shown_as_it_is_written() -> None:
    assert canonical_wallet("tron", ADDRESS) == ADDRESS

    assert shown_wallet("tron", ADDRESS) == ADDRESS
