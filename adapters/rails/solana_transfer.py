"""A Solana transaction that pays us by x402, read strictly from what a client signed."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import base58
from solders.message import MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.token.associated import get_associated_token_address
from solders.transaction import VersionedTransaction

from domain.errors import MalformedError

TOKEN_PROGRAM = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
COMPUTE_BUDGET = Pubkey.from_string("ComputeBudget111111111111111111111111111111")
MEMO_PROGRAM = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
# Wallets add its assertions of their own; it can stop a transaction and move nothing.
LIGHTHOUSE = Pubkey.from_string("L2TExMFKdjpN9kozasaurPirfHy9P8sbXoAN1qA3S95")
USDC_DECIMALS = 6
# What the network itself allows a transaction, 1,232 bytes, in base64.
_TRANSACTION_LENGTH_MAX = 1_644
_INSTRUCTIONS_MIN = 3
_INSTRUCTIONS_MAX = 6
_SIGNERS = 2
_SET_LIMIT = (2, 5)
_SET_PRICE = (3, 9)
_TRANSFER_CHECKED = (12, 10)
_TRANSFER_ACCOUNTS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SolanaTransfer:
    """One dollar transfer in canonical form; addresses in base58, `amount` in token base units.

    `payer` owns the money and signed; `fee_payer` pays the network and has yet to. `digest` is the
    SHA-256 of the message, in hex: what both sign and the chain takes at most once. `memos` are the
    texts of its memo instructions. `priority_lamports` is what the fee payer is made to pay above
    the network's base fee. `transaction` is the transaction in base64, with an empty
    signature where the fee payer's goes.
    """

    payer: str
    fee_payer: str
    source: str
    destination: str
    mint: str
    amount: int
    blockhash: str
    memos: tuple[bytes, ...]
    priority_lamports: int
    digest: str
    transaction: str

    @classmethod
    def parse(cls, payload: Mapping[str, object]) -> SolanaTransfer:
        """Read the x402 `payload` object; anything but one transfer of the payer's is refused.

        Strictness is safety: the fee payer signs the whole transaction, and the chain runs all of
        it. There is no room for a second transfer, a nonce account or a lookup table.
        """
        transaction, message = _decoded(payload)
        keys = message.account_keys
        programs = [_key(keys, each.program_id_index) for each in message.instructions]
        if not _INSTRUCTIONS_MIN <= len(programs) <= _INSTRUCTIONS_MAX:
            raise _malformed("instructions", "3 to 6", len(programs))
        limit, price, transfer, *rest = message.instructions
        _check_kind("instruction 1", programs[0], limit.data, COMPUTE_BUDGET, _SET_LIMIT)
        _check_kind("instruction 2", programs[1], price.data, COMPUTE_BUDGET, _SET_PRICE)
        _check_kind("instruction 3", programs[2], transfer.data, TOKEN_PROGRAM, _TRANSFER_CHECKED)
        for number, program in enumerate(programs[3:], start=4):
            if program not in (MEMO_PROGRAM, LIGHTHOUSE):
                raise _malformed(f"instruction {number}", "a memo or an assertion", program)
        accounts = [_key(keys, index) for index in transfer.accounts]
        if len(accounts) != _TRANSFER_ACCOUNTS:
            raise _malformed("transfer", f"{_TRANSFER_ACCOUNTS} accounts", len(accounts))
        source, mint, destination, payer = accounts
        _check_signers(transaction, message, payer)
        if source != get_associated_token_address(payer, mint, TOKEN_PROGRAM):
            raise _malformed("transfer source", "the payer's associated token account", source)
        if transfer.data[9] != USDC_DECIMALS:
            raise _malformed("transfer decimals", str(USDC_DECIMALS), transfer.data[9])
        return cls(
            payer=str(payer),
            fee_payer=str(keys[0]),
            source=str(source),
            destination=str(destination),
            mint=str(mint),
            amount=int.from_bytes(transfer.data[1:9], "little"),
            blockhash=str(message.recent_blockhash),
            memos=tuple(
                each.data
                for each, program in zip(rest, programs[3:], strict=True)
                if program == MEMO_PROGRAM
            ),
            priority_lamports=_priority(limit.data, price.data),
            digest=digest_of(message),
            transaction=_canonical(transaction),
        )

    def wire(self) -> dict[str, object]:
        """The x402 `payload` object again, the same for every spelling it came in."""
        return {"transaction": self.transaction}

    def key(self, *, network: str) -> str:
        """What makes it one payment: the message, never the signatures, of which one is open."""
        return f"{network}|{self.digest}"


def digest_of(message: object) -> str:
    """The SHA-256 of what is signed, in hex; "" for what is not a version 0 message."""
    if not isinstance(message, MessageV0):
        return ""
    return hashlib.sha256(to_bytes_versioned(message)).hexdigest()


def token_account(owner: str, mint: str) -> str:
    """Where an owner's tokens lie: the associated account. Raises ValueError for no address."""
    key, of = Pubkey.from_string(owner), Pubkey.from_string(mint)
    return str(get_associated_token_address(key, of, TOKEN_PROGRAM))


def _decoded(payload: Mapping[str, object]) -> tuple[VersionedTransaction, MessageV0]:
    if set(payload) != {"transaction"}:
        raise _malformed("payload", "a transaction", sorted(payload))
    text = str(payload["transaction"])
    if len(text) > _TRANSACTION_LENGTH_MAX:
        raise _malformed("transaction", f"at most {_TRANSACTION_LENGTH_MAX} letters", len(text))
    try:
        raw = base64.b64decode(text, validate=True)
        transaction = VersionedTransaction.from_bytes(raw)
        transaction.sanitize()
    except Exception as error:  # The library raises types of its own.
        raise _malformed("transaction", "base64 of a transaction", text) from error
    message = transaction.message
    if not isinstance(message, MessageV0) or bytes(transaction) != raw:
        raise _malformed("transaction", "version 0, and nothing after it", text)
    if message.address_table_lookups:
        raise _malformed("transaction", "no address lookup tables", text)
    return transaction, message


def _check_kind(
    where: str, program: Pubkey, data: bytes, expected: Pubkey, kind: tuple[int, int]
) -> None:
    tag, length = kind
    if program != expected or len(data) != length or data[0] != tag:
        raise _malformed(where, f"{expected} with tag {tag}", f"{program} with {data.hex()}")


def _check_signers(transaction: VersionedTransaction, message: MessageV0, payer: Pubkey) -> None:
    """Two sign: the fee payer, whose word is not ours to check, and the owner of the money."""
    signers = message.account_keys[: message.header.num_required_signatures]
    if len(signers) != _SIGNERS or signers[1] != payer:
        raise _malformed("signers", "the fee payer and the transfer's authority", signers)
    # A program that is handed the fee payer could spend what it holds: it has signed.
    if any(0 in each.accounts for each in message.instructions):
        raise _malformed("instructions", "not to name the fee payer", signers[0])
    if not transaction.signatures[1].verify(payer, to_bytes_versioned(message)):
        raise _malformed("signature", "the transfer's authority to have signed", payer)


def _priority(limit: bytes, price: bytes) -> int:
    """Compute units times their price in millionths of a lamport, rounded up."""
    micro = int.from_bytes(limit[1:], "little") * int.from_bytes(price[1:], "little")
    return -(-micro // 1_000_000)


def _canonical(transaction: VersionedTransaction) -> str:
    raw = bytearray(bytes(transaction))
    # After one byte of length; the fee payer signs later, and what stands there now is anything.
    raw[1:65] = bytes(64)
    return base64.b64encode(raw).decode("ascii")


def _key(keys: list[Pubkey], index: int) -> Pubkey:
    if index >= len(keys):
        raise _malformed("transaction", "accounts that it lists", index)
    return keys[index]


def _malformed(where: str, expected: str, got: object) -> MalformedError:
    return MalformedError(where=f"payment {where}", expected=expected, got=str(got)[:80])


def is_address(text: str) -> bool:
    """Whether this is 32 bytes in base58, the way Solana writes a public key."""
    try:
        return len(base58.b58decode(text)) == len(bytes(Pubkey.default()))
    except ValueError:
        return False
