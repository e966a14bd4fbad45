from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import base58
import pytest
from nacl.signing import SigningKey

from adapters.http.identity import WINDOW_MS, canonical_wallet, shown_wallet, signed_by
from tests.fakes.street import Answer, Street

SPECS = Path(__file__).parents[4] / "specs"
VECTORS: dict[str, Any] = json.loads(
    (SPECS / "http" / "vectors" / "wallet_signatures.json").read_text(encoding="utf-8")
)
GOOD: list[dict[str, str]] = VECTORS["good"]
NAMES = [vector["name"] for vector in GOOD]
EVM, SOLANA = GOOD[1], GOOD[3]
# The order of the curve: no part of a signature may reach it.
SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def headers_of(vector: dict[str, str], **changes: str) -> dict[str, str]:
    headers = {
        "Authorization": vector["authorization"],
        "X-Wallet-Address": vector["address"],
        "X-Wallet-Chain": vector["chain"],
        "X-Timestamp": vector["timestamp"],
    }
    changed = headers | {name.replace("_", "-"): value for name, value in changes.items()}
    return {name: value for name, value in changed.items() if value != "absent"}


async def answer_to(street: Street, vector: dict[str, str], **changes: str) -> Answer:
    return await street.call(
        vector["method"],
        vector["target"],
        {} if vector["method"] == "POST" else None,
        headers=headers_of(vector, **changes),
    )


@pytest.mark.parametrize("vector", GOOD, ids=NAMES)
async def test_a_published_signature_is_let_in(street: Street, vector: dict[str, str]) -> None:
    answer = await answer_to(street, vector)

    # Let in means: the body is looked at, or the account is missed.
    assert answer.json["code"] in ("malformed", "not_found")


@pytest.mark.parametrize("vector", GOOD, ids=NAMES)
@pytest.mark.parametrize("ahead_ms", [-WINDOW_MS, WINDOW_MS])
async def test_thirty_seconds_either_way_are_let_in(
    street: Street, vector: dict[str, str], ahead_ms: int
) -> None:
    street.house.clock._now_ms += ahead_ms

    assert (await answer_to(street, vector)).status != 401


@pytest.mark.parametrize("ahead_ms", [-WINDOW_MS - 1, WINDOW_MS + 1])
async def test_more_than_thirty_seconds_are_not(street: Street, ahead_ms: int) -> None:
    street.house.clock._now_ms += ahead_ms

    answer = await answer_to(street, EVM)

    assert answer.status == 401
    assert "X-Timestamp" in answer.json["error"]


@pytest.mark.parametrize("vector", GOOD, ids=NAMES)
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"Authorization": "absent"}, "Authorization"),
        ({"X_Wallet_Address": "absent"}, "X-Wallet-Address"),
        ({"X_Wallet_Chain": "absent"}, "X-Wallet-Chain"),
        ({"X_Timestamp": "absent"}, "X-Timestamp"),
        ({"X_Wallet_Chain": "bitcoin"}, "X-Wallet-Chain"),
        ({"X_Wallet_Chain": "EVM"}, "X-Wallet-Chain"),
        ({"X_Timestamp": "1700000000.5"}, "X-Timestamp"),
        ({"X_Timestamp": "-1700000000"}, "X-Timestamp"),
        ({"X_Timestamp": "1.7e9"}, "X-Timestamp"),
        ({"X_Timestamp": "9" * 5_000}, "X-Timestamp"),
        ({"X_Timestamp": "1700000001"}, "signature"),
        ({"X_Wallet_Address": "0x12"}, "X-Wallet-Address"),
        ({"X_Wallet_Address": "l" * 44}, "X-Wallet-Address"),
        ({"X_Wallet_Address": "1" * 8_000}, "X-Wallet-Address"),
        ({"Authorization": "Bearer abc"}, "Authorization"),
        ({"Authorization": ":"}, "Authorization"),
    ],
)
async def test_what_is_wrong_with_the_headers_is_told(
    street: Street, vector: dict[str, str], changes: dict[str, str], told: str
) -> None:
    answer = await answer_to(street, vector, **changes)

    assert answer.status == 401
    assert answer.json["code"] == "unauthenticated"
    assert told in answer.json["error"]


async def test_a_signature_of_another_wallet_is_refused(street: Street) -> None:
    answer = await answer_to(street, EVM, X_Wallet_Address=street.bob.address)

    assert answer.status == 401


async def test_a_signature_over_another_path_is_refused(street: Street) -> None:
    answer = await street.call("GET", "/v1/account", headers=headers_of(EVM))

    assert answer.status == 401


async def test_the_path_is_signed_as_it_is_sent(street: Street) -> None:
    answer = await street.get("/v1/sessions/%C3%A9/bill")

    assert answer.json["error"] == "Session not found"


async def test_a_signature_over_another_method_is_refused(street: Street) -> None:
    answer = await street.call(
        "GET", "/v1/account", headers=street.alice.headers("POST", "/v1/account", 1_700_000_000)
    )

    assert answer.status == 401


@pytest.mark.parametrize("write", [str.lower, lambda a: "0x" + a[2:].upper()])
async def test_an_evm_address_is_known_in_any_case(
    street: Street, write: Callable[[str], str]
) -> None:
    answer = await answer_to(street, EVM, X_Wallet_Address=write(EVM["address"]))

    assert answer.status == 404


async def test_two_calls_in_one_second_may_carry_one_signature(street: Street) -> None:
    first = await answer_to(street, EVM)

    assert (await answer_to(street, EVM)).status == first.status == 404


EVM_MESSAGE = "\n".join((EVM["method"], EVM["signed_path"], EVM["timestamp"]))
EVM_HEX = EVM["authorization"].removeprefix("evm:")


def evm_signed(signature: str) -> bool:
    return signed_by("evm", EVM["address"].lower(), signature, EVM_MESSAGE)


@pytest.mark.parametrize(("v", "other_v"), [("1b", "00"), ("1c", "01")])
def test_the_recovery_id_counts_from_27_or_from_0(v: str, other_v: str) -> None:
    rest, own_v = EVM_HEX[:-2], EVM_HEX[-2:]

    assert evm_signed(rest + v) == evm_signed(rest + other_v) == (own_v == v)


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "0x",
        EVM_HEX[2:],
        EVM_HEX[:-2],
        EVM_HEX + "00",
        EVM_HEX[:-2] + "1d",
        EVM_HEX[:-2] + "25",
        EVM_HEX[:-2] + "26",
        EVM_HEX[:-2] + "ff",
        "0x" + "00" * 65,
        "0x" + "00" * 64 + "1b",
        "0x" + "ff" * 64 + "1b",
        "0x" + f"{SECP256K1_ORDER:064x}" + EVM_HEX[66:],
        EVM_HEX[:66] + f"{SECP256K1_ORDER:064x}" + EVM_HEX[-2:],
        "0x" + "zz" * 65,
        "é" * 132,
    ],
)
def test_evm_garbage_is_nobodys_signature(signature: str) -> None:
    assert not evm_signed(signature)


SOLANA_MESSAGE = "\n".join((SOLANA["method"], SOLANA["signed_path"], SOLANA["timestamp"]))
SOLANA_BASE64 = SOLANA["authorization"].removeprefix("solana:")


@pytest.mark.parametrize(
    "signature",
    [
        "",
        SOLANA_BASE64[:-4],
        SOLANA_BASE64.rstrip("="),
        SOLANA_BASE64.replace("/", "_"),
        SOLANA_BASE64 + "\n",
        base64.b64encode(b"\x00" * 64).decode(),
        base64.b64encode(b"\xff" * 64).decode(),
        base64.b64encode(b"\x00" * 65).decode(),
        base58.b58encode(base64.b64decode(SOLANA_BASE64)).decode(),
        "é",
    ],
)
def test_solana_garbage_is_nobodys_signature(signature: str) -> None:
    assert not signed_by("solana", SOLANA["address"], signature, SOLANA_MESSAGE)


def test_a_solana_signature_is_over_the_message_itself() -> None:
    # Throwaway: 32 bytes of 0x03.
    key = SigningKey(b"\x03" * 32)
    address = base58.b58encode(bytes(key.verify_key)).decode()
    signature = base64.b64encode(key.sign(b"GET\n/v1/account\n1700000000").signature).decode()

    assert signed_by("solana", address, signature, "GET\n/v1/account\n1700000000")
    assert not signed_by("solana", address, signature, "GET\n/v1/account\n1700000001")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "0x" + "00" * 19,
        "0x" + "00" * 21,
        "00" * 20,
        "0X" + "00" * 20,
        "0x" + "0g" * 20,
        "0x" + "00" * 20 + "\n",
    ],
)
def test_other_text_is_no_evm_address(address: str) -> None:
    assert canonical_wallet("evm", address) is None


@pytest.mark.parametrize(
    "address",
    [
        "",
        SOLANA["address"][:-2],
        SOLANA["address"] + "1",
        SOLANA["address"] + " ",
        SOLANA["address"].replace("A", "0"),
        base58.b58encode(b"\x01" * 31).decode(),
        base58.b58encode(b"\x01" * 33).decode(),
    ],
)
def test_other_text_is_no_solana_address(address: str) -> None:
    assert canonical_wallet("solana", address) is None


def test_white_space_is_not_part_of_an_address() -> None:
    short = base58.b58encode(b"\x00" + b"\x01" * 31).decode()
    assert canonical_wallet("solana", short) == short

    assert canonical_wallet("solana", short + "\n") is None


def test_an_evm_address_is_kept_in_lower_case_and_shown_with_its_checksum() -> None:
    kept = canonical_wallet("evm", EVM["address"])

    assert kept == EVM["address"].lower()
    assert shown_wallet("evm", str(kept)) == EVM["address"]


async def test_a_wallet_that_comes_too_often_is_told_to_wait(street: Street) -> None:
    for _ in range(10):
        assert (await street.get("/v1/account")).status == 404

    answer = await street.get("/v1/account")

    assert answer.status == 429
    assert answer.headers["Retry-After"] == "1"
    assert "concurrent" not in answer.json["error"].lower()


async def test_a_wrong_signature_does_not_use_up_the_wallets_rate(street: Street) -> None:
    forged = street.bob.headers("GET", "/v1/account", 1_700_000_000)
    forged["X-Wallet-Address"] = street.alice.address
    for _ in range(30):
        assert (await street.call("GET", "/v1/account", headers=forged)).status == 401

    assert (await street.get("/v1/account")).status == 404
