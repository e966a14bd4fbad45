"""Throwaway wallets: fresh keys for the demo, the tests and people trying things out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import base58
from eth_account import Account
from nacl.signing import SigningKey


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrowawayWallet:
    """A key pair nobody should send real money to.

    EVM: `secret_key` is 0x and 64 hex digits, `address` checksummed. Solana: `secret_key` is the
    64-byte key pair in base58, `address` the public key in base58.
    """

    address: str
    secret_key: str = field(repr=False)


def fresh_evm_wallet() -> ThrowawayWallet:
    account = Account.create()
    return ThrowawayWallet(address=account.address, secret_key="0x" + bytes(account.key).hex())


def fresh_solana_wallet() -> ThrowawayWallet:
    key = SigningKey.generate()
    public = bytes(key.verify_key)
    return ThrowawayWallet(
        address=base58.b58encode(public).decode("ascii"),
        secret_key=base58.b58encode(bytes(key) + public).decode("ascii"),
    )


def sandbox_wallet(path: Path) -> ThrowawayWallet:
    """The EVM wallet of this sandbox, made on first use and kept in a file: it is play money."""
    account = Account.from_key(_kept(path, fresh_evm_wallet))
    return ThrowawayWallet(address=account.address, secret_key="0x" + bytes(account.key).hex())


def sandbox_solana_wallet(path: Path) -> ThrowawayWallet:
    """The Solana wallet of this sandbox, in the same way."""
    secret = _kept(path, fresh_solana_wallet)
    public = base58.b58decode(secret)[32:]
    return ThrowawayWallet(address=base58.b58encode(public).decode("ascii"), secret_key=secret)


def _kept(path: Path, make: Callable[[], ThrowawayWallet]) -> str:
    """The secret key in this file, made where there is none."""
    if not path.exists():
        part = path.with_name(path.name + ".part")
        part.write_text(make().secret_key, encoding="ascii")
        part.chmod(0o600)
        part.replace(path)
    return path.read_text(encoding="ascii").strip()
