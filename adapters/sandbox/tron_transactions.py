"""TRON transactions as wallets sign them: their bytes, their names, and who signed."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

import base58
from coincurve import PublicKey
from eth_hash.auto import keccak
from google.protobuf.any_pb2 import Any as Packed
from tronpy.proto import tron_pb2

_ADDRESS = re.compile(r"(?:0x|41)([0-9a-fA-F]{40})")
_PREFIX = b"\x41"
_RECOVERY_IDS = {0: b"\x00", 1: b"\x01", 27: b"\x00", 28: b"\x01"}
_SIGNATURE_BYTES = 65
_ADDRESS_BYTES = 21
CALL, TRANSFER = "TriggerSmartContract", "TransferContract"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a transaction does: `owner` calls `to` with `data`, or sends it `value` suns."""

    id: str
    raw: bytes
    owner: bytes
    to: bytes
    data: bytes
    value: int
    expires_at_ms: int


def read_transaction(raw_data: object) -> Wanted:
    """Read a transaction's `raw_data`; ValueError for what it cannot be.

    The name is the hash of the bytes that these fields make, whatever name came with them.
    """
    try:
        return _read(raw_data)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        msg = f"expected a transaction of one contract ({type(error).__name__}: {error})"
        raise ValueError(msg) from error


def _read(raw_data: object) -> Wanted:
    if not isinstance(raw_data, dict) or len(raw_data["contract"]) != 1:
        msg = "expected a transaction of one contract"
        raise ValueError(msg)
    contract = raw_data["contract"][0]
    kind, parameter = contract["type"], contract["parameter"]
    does = _Does.of(kind, parameter["value"])
    raw = tron_pb2.Transaction.raw(
        ref_block_bytes=bytes.fromhex(raw_data["ref_block_bytes"]),
        ref_block_hash=bytes.fromhex(raw_data["ref_block_hash"]),
        expiration=int(raw_data["expiration"]),
        timestamp=int(raw_data.get("timestamp", 0)),
        data=bytes.fromhex(raw_data.get("data", "")),
        fee_limit=int(raw_data.get("fee_limit", 0)),
        contract=[
            tron_pb2.Transaction.Contract(
                type=tron_pb2.Transaction.Contract.ContractType.Value(kind),
                parameter=Packed(type_url=parameter["type_url"], value=does.packed),
                Permission_id=int(contract.get("Permission_id", 0)),
            )
        ],
    ).SerializeToString()
    return Wanted(
        id=hashlib.sha256(raw).hexdigest(),
        raw=raw,
        owner=does.owner,
        to=does.to,
        data=does.data,
        value=does.value,
        expires_at_ms=int(raw_data["expiration"]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Does:
    """What a contract of a transaction does, and its bytes."""

    owner: bytes
    to: bytes
    data: bytes = b""
    value: int
    packed: bytes

    @classmethod
    def of(cls, kind: str, fields: dict[str, str]) -> _Does:
        owner = account_of(fields["owner_address"])
        if kind == CALL:
            to, data = account_of(fields["contract_address"]), bytes.fromhex(fields.get("data", ""))
            value = int(fields.get("call_value", 0))
            packed = tron_pb2.TriggerSmartContract(
                owner_address=_PREFIX + owner,
                contract_address=_PREFIX + to,
                data=data,
                call_value=value,
            ).SerializeToString()
            return cls(owner=owner, to=to, data=data, value=value, packed=packed)
        if kind == TRANSFER:
            to, value = account_of(fields["to_address"]), int(fields["amount"])
            packed = tron_pb2.TransferContract(
                owner_address=_PREFIX + owner, to_address=_PREFIX + to, amount=value
            ).SerializeToString()
            return cls(owner=owner, to=to, value=value, packed=packed)
        msg = f"expected {CALL} or {TRANSFER}, got {kind}"
        raise ValueError(msg)


def signer_of(transaction: str, signature: object) -> bytes | None:
    """The account that signed a transaction's name; None if none did."""
    try:
        raw = bytes.fromhex(str(signature).removeprefix("0x"))
        recovery_id = _RECOVERY_IDS[raw[64]] if len(raw) == _SIGNATURE_BYTES else b""
        key = PublicKey.from_signature_and_message(
            raw[:64] + recovery_id, bytes.fromhex(transaction), hasher=None
        )
    except (ValueError, KeyError):
        return None
    return keccak(key.format(compressed=False)[1:])[12:]


def account_of(text: object) -> bytes:
    """The 20 bytes of an address, in base58 or in hex as TRON writes it; else ValueError."""
    found = _ADDRESS.fullmatch(str(text))
    if found is not None:
        return bytes.fromhex(found[1])
    raw = base58.b58decode_check(str(text))
    if len(raw) != _ADDRESS_BYTES or not raw.startswith(_PREFIX):
        msg = f"expected a TRON address (got {str(text)[:80]!r})"
        raise ValueError(msg)
    return raw[1:]


def address_of(account: bytes, *, visible: bool = True) -> str:
    """An address in base58; in hex with 41 before it for whoever does not ask for `visible`."""
    raw = _PREFIX + account
    return base58.b58encode_check(raw).decode("ascii") if visible else raw.hex()
