"""What it costs to know who asks: wallet signatures checked a second, beside the bare libraries."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable

import base58
import coincurve
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_hash.auto import keccak
from eth_keys.backends.native.main import NativeECCBackend
from eth_keys.datatypes import Signature
from eth_keys.main import KeyAPI
from nacl.signing import SigningKey

from adapters.http.identity import signed_by
from tests.bench.report import Row

MESSAGES = 200
SECONDS = 1.0
# Throwaway keys: 32 bytes of 1, 32 bytes of 2.
_EVM_KEY = b"\x01" * 32
_SOLANA_KEY = SigningKey(b"\x02" * 32)


def signature_rows() -> list[Row]:
    """One thread; every message and signature another one."""
    texts = [f"GET\n/v1/account\n{1_700_000_000 + i}" for i in range(MESSAGES)]
    return [*_evm_rows(texts), _solana_row(texts)]


def _evm_rows(texts: list[str]) -> list[Row]:
    account = Account.from_key(_EVM_KEY)
    wallet = str(account.address).lower()
    hexes = [
        account.sign_message(encode_defunct(text=t)).signature.hex().removeprefix("0x")
        for t in texts
    ]
    signed = [(t, f"0x{h}", bytes.fromhex(h)) for t, h in zip(texts, hexes, strict=True)]
    pure = KeyAPI(NativeECCBackend())

    def ours(index: int) -> bool:
        text, signature, _ = signed[index]
        return signed_by("evm", wallet, signature, text)

    def bare(index: int) -> bool:
        text, _, raw = signed[index]
        key = coincurve.PublicKey.from_signature_and_message(_with_id(raw), _hash(text), None)
        return f"0x{keccak(key.format(compressed=False)[1:])[-20:].hex()}" == wallet

    def pure_python(index: int) -> bool:
        text, _, raw = signed[index]
        key = pure.ecdsa_recover(_hash(text), Signature(_with_id(raw)))
        return bool(key.to_address() == wallet)

    rate = _per_second(ours)
    return [
        _row("EVM signatures", rate, "bare coincurve", _per_second(bare)),
        _row("EVM signatures", rate, "eth-keys in Python", _per_second(pure_python)),
    ]


def _solana_row(texts: list[str]) -> Row:
    public = _SOLANA_KEY.verify_key
    wallet = base58.b58encode(bytes(public)).decode()
    signed = [(t, base64.b64encode(_SOLANA_KEY.sign(t.encode()).signature).decode()) for t in texts]

    def ours(index: int) -> bool:
        text, signature = signed[index]
        return signed_by("solana", wallet, signature, text)

    def bare(index: int) -> bool:
        text, signature = signed[index]
        return bool(public.verify(text.encode(), base64.b64decode(signature)))

    return _row("Solana signatures", _per_second(ours), "bare PyNaCl", _per_second(bare))


def _row(name: str, ours: float, peer_name: str, peer: float) -> Row:
    return Row(
        name=f"{name} checked",
        ours=f"{ours:,.0f}/s",
        peer=f"{peer:,.0f}/s",
        peer_name=peer_name,
        ratio=ours / peer,
    )


def _per_second(check: Callable[[int], bool]) -> float:
    done, began = 0, time.perf_counter()
    while (took := time.perf_counter() - began) < SECONDS:
        assert check(done % MESSAGES)
        done += 1
    return done / took


def _hash(text: str) -> bytes:
    """What a wallet signs for a text, by ERC-191."""
    raw = text.encode()
    return bytes(keccak(b"\x19Ethereum Signed Message:\n%d" % len(raw) + raw))


def _with_id(raw: bytes) -> bytes:
    """The signature with a recovery id from 0."""
    return raw[:64] + bytes([raw[64] - 27])
