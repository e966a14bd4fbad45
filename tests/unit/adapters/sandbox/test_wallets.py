from __future__ import annotations

from pathlib import Path

import base58
from eth_account import Account
from nacl.signing import SigningKey

from adapters.sandbox.wallets import fresh_evm_wallet, fresh_solana_wallet, sandbox_wallet


def test_an_evm_key_belongs_to_its_address() -> None:
    wallet = fresh_evm_wallet()

    assert Account.from_key(wallet.secret_key).address == wallet.address


def test_a_solana_key_belongs_to_its_address() -> None:
    wallet = fresh_solana_wallet()

    secret = base58.b58decode(wallet.secret_key)
    assert len(secret) == 64
    assert bytes(SigningKey(secret[:32]).verify_key) == secret[32:]
    assert base58.b58encode(secret[32:]).decode() == wallet.address


def test_a_key_does_not_show_in_a_log() -> None:
    wallet = fresh_evm_wallet()

    assert wallet.secret_key not in repr(wallet)


def test_a_kept_wallet_is_the_same_again_and_nobody_elses_to_read(tmp_path: Path) -> None:
    first = sandbox_wallet(tmp_path / "wallet.key")

    again = sandbox_wallet(tmp_path / "wallet.key")

    assert again == first
    assert (tmp_path / "wallet.key").stat().st_mode & 0o077 == 0
