"""A Solana cluster inside the process: real programs, real USDC rules, and no real money."""

from __future__ import annotations

import base64
import json
import threading
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import TypeVar

from solders.account import Account
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.message import MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM_PROGRAM
from solders.system_program import TransferParams, transfer
from solders.token.associated import get_associated_token_address
from solders.token.state import Mint, TokenAccount
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import FailedTransactionMetadata, TransactionMetadata

from adapters.sandbox.lines import Lines
from adapters.sandbox.solana_errors import json_of
from domain.ports.clock import Clock

T = TypeVar("T")
USDC = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"
# Of the real chain, since clients and facilitators know no others.
GENESIS = "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d"
DECIMALS = 6
SLOT_MS = 400
# In slots: how long a blockhash is good, and how far behind the finalized chain is.
BLOCKHASH_SLOTS = 150
FINAL_SLOTS = 32
_MINT = Pubkey.from_string(USDC)
TOKEN_PROGRAM = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
_ATA_PROGRAM = Pubkey.from_string("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL")
_MEMO_PROGRAM = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
TOKEN_ACCOUNT_BYTES = 165
# Mints the dollars and pays for them. Published: it guards play money.
_FAUCET = Keypair.from_seed(sha256(b"payphone sandbox solana faucet").digest())
_FAUCET_LAMPORTS = 10**18
# What a funded wallet can pay fees with, and an account of a wallet that only receives.
_GIFT_LAMPORTS = 10_000_000
# Slots are counted from here (Unix ms), so that they go on where they were after a restart.
_EPOCH_MS = 1_700_000_000_000
_LABEL = b"payphone sandbox blockhash"


class SolanaRefusedError(Exception):
    """A validator would not take the transaction; `error` is why, as JSON-RPC says it."""

    def __init__(self, error: object, logs: list[str]) -> None:
        super().__init__(f"the sandbox would not take it: {error}")
        self.error = error
        self.logs = logs


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What running a transaction came to: `error` as JSON-RPC says it, None where it succeeded."""

    error: object
    logs: list[str]
    units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a token account held: `index` is its place in the transaction, `amount` base units."""

    index: int
    mint: str
    owner: str
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed:
    """A transaction on the chain, with what its accounts held before it and after."""

    signature: str
    slot: int
    time_s: int
    transaction: VersionedTransaction
    ran: Ran
    lamports_before: list[int]
    lamports_after: list[int]
    tokens_before: list[Held]
    tokens_after: list[Held]

    @property
    def memo(self) -> str | None:
        """Its memos as a node lists them."""
        message = self.transaction.message
        memos = [
            f"[{len(each.data)}] {each.data.decode('utf-8', 'replace')}"
            for each in message.instructions
            if message.account_keys[each.program_id_index] == _MEMO_PROGRAM
        ]
        return "; ".join(memos) or None


class SolanaChain:
    """One LiteSVM behind one lock: a slot is 400 ms of the clock's, a sent transaction lands now.

    LiteSVM knows one blockhash and no history, so both are kept here: blockhashes follow from the
    slot and are good for 150, and a message lands at most once. With a journal every transaction is
    on disk before anybody hears of it, and a new chain on the same file is the same chain.
    """

    def __init__(self, clock: Clock, *, journal: Path | None = None) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        unchecked = False
        self._machine = ThreadPoolExecutor(1, thread_name_prefix="litesvm")
        self._svm = self._run(
            lambda: (
                LiteSVM()
                .with_sigverify(unchecked)
                .with_blockhash_check(unchecked)
                .with_transaction_history(0)
            )
        )
        self._slot = 0
        self._blockhashes: dict[Hash, int] = {}
        self._landed: dict[str, Landed] = {}
        self._messages: dict[bytes, str] = {}
        self._of_account: defaultdict[str, list[str]] = defaultdict(list)
        self._numbers = count(1)
        self._found()
        self._journal = Lines(journal) if journal is not None else None
        for line in self._journal.read() if self._journal is not None else ():
            told = json.loads(line)
            raw = base64.b64decode(told["transaction"])
            self._slot = max(self._slot, told["slot"])
            self._land(VersionedTransaction.from_bytes(raw), told["slot"], told["time_s"])

    def slot(self) -> int:
        """The slot of now; it never goes back."""
        with self._lock:
            now = (self._clock.now_ms() - _EPOCH_MS) // SLOT_MS
            if now > self._slot or not self._blockhashes:
                self._slot = max(now, self._slot)
                first = self._slot - BLOCKHASH_SLOTS - FINAL_SLOTS
                self._blockhashes = {
                    _blockhash(slot): slot for slot in range(first, self._slot + 1)
                }
            return self._slot

    def blockhash(self, slot: int) -> Hash:
        return _blockhash(slot)

    def is_valid(self, blockhash: Hash, *, at_slot: int) -> bool:
        """Whether a transaction with this blockhash may land in that slot."""
        with self._lock:
            self.slot()
            made = self._blockhashes.get(blockhash)
            return made is not None and made <= at_slot <= made + BLOCKHASH_SLOTS

    def account(self, address: Pubkey) -> Account | None:
        with self._lock:
            return self._run(self._svm.get_account, address)

    def lamports(self, address: str) -> int:
        with self._lock:
            return self._run(self._svm.get_balance, Pubkey.from_string(address)) or 0

    def rent(self, size: int) -> int:
        """Lamports that an account of this many bytes must hold."""
        with self._lock:
            return self._run(self._svm.minimum_balance_for_rent_exemption, size)

    def balance(self, owner: str) -> int:
        """The dollars of a wallet, in base units. Raises ValueError for no address."""
        held = self.account(get_associated_token_address(Pubkey.from_string(owner), _MINT))
        return TokenAccount.from_bytes(held.data).amount if held is not None else 0

    def fund(self, owner: str, amount: int, *, lamports: int = _GIFT_LAMPORTS) -> str:
        """Give a wallet dollars (base units) out of nothing, and something to pay fees with."""
        faucet, wallet = _FAUCET.pubkey(), Pubkey.from_string(owner)
        account = get_associated_token_address(wallet, _MINT)
        number = next(self._numbers)
        steps = [
            _opening(faucet, wallet, account),
            Instruction(
                TOKEN_PROGRAM,
                bytes([7]) + amount.to_bytes(8, "little"),
                [
                    AccountMeta(_MINT, is_signer=False, is_writable=True),
                    AccountMeta(account, is_signer=False, is_writable=True),
                    AccountMeta(faucet, is_signer=True, is_writable=False),
                ],
            ),
            transfer(TransferParams(from_pubkey=faucet, to_pubkey=wallet, lamports=lamports)),
            # Two gifts alike are two gifts.
            Instruction(_MEMO_PROGRAM, f"gift {number} {self._clock.now_ms()}".encode(), []),
        ]
        with self._lock:
            message = MessageV0.try_compile(faucet, steps, [], self.blockhash(self.slot()))
            return self.send(VersionedTransaction(message, [_FAUCET]))

    def send(self, transaction: VersionedTransaction) -> str:
        """Put a transaction on the chain and name it; one that fails there is there too.

        Raises SolanaRefusedError where it cannot land.
        """
        with self._lock:
            slot = self.slot()
            trial = self.simulate(transaction)
            if trial.error is not None and not isinstance(trial.error, dict):
                raise SolanaRefusedError(trial.error, trial.logs)
            time_s = self._clock.now_ms() // 1000
            if self._journal is not None:
                text = base64.b64encode(bytes(transaction)).decode("ascii")
                told = {"slot": slot, "time_s": time_s, "transaction": text}
                self._journal.append(json.dumps(told))
            return self._land(transaction, slot, time_s)

    def simulate(
        self, transaction: VersionedTransaction, *, signed: bool = True, fresh: bool = False
    ) -> Ran:
        """Run it and undo it.

        `signed`: its signatures are looked at; `fresh`: its blockhash is not.
        """
        with self._lock:
            error = self._refusal(transaction, signed=signed, fresh=fresh)
            if error is not None:
                return Ran(error=error, logs=[], units=0)
            done = self._run(self._svm.simulate_transaction, transaction)
            return _ran(done if isinstance(done, FailedTransactionMetadata) else done.meta())

    def find(self, signature: str) -> Landed | None:
        with self._lock:
            return self._landed.get(signature)

    def history(self, address: str) -> list[Landed]:
        """The transactions that name an account, the newest first."""
        with self._lock:
            return [self._landed[name] for name in reversed(self._of_account.get(address, ()))]

    def _refusal(
        self, transaction: VersionedTransaction, *, signed: bool, fresh: bool
    ) -> str | None:
        message = transaction.message
        if signed and not all(transaction.verify_with_results()):
            return "SignatureFailure"
        if not fresh and not self.is_valid(message.recent_blockhash, at_slot=self.slot()):
            return "BlockhashNotFound"
        if to_bytes_versioned(message) in self._messages:
            return "AlreadyProcessed"
        return None

    def _run(self, call: Callable[..., T], *given: object) -> T:
        """Call the machine on the one thread that it may have.

        It leaves that thread's x87 unit unable to count in long doubles, as numpy's FFT does: on a
        thread that others use too, speech would be heard as noise.
        """
        return self._machine.submit(call, *given).result()

    def _land(self, transaction: VersionedTransaction, slot: int, time_s: int) -> str:
        keys = transaction.message.account_keys
        before = self._standing(keys)
        ran = _ran(self._run(self._svm.send_transaction, transaction))
        after = self._standing(keys)
        signature = str(transaction.signatures[0])
        self._landed[signature] = Landed(
            signature=signature,
            slot=slot,
            time_s=time_s,
            transaction=transaction,
            ran=ran,
            lamports_before=before[0],
            lamports_after=after[0],
            tokens_before=before[1],
            tokens_after=after[1],
        )
        self._messages[to_bytes_versioned(transaction.message)] = signature
        for key in keys:
            self._of_account[str(key)].append(signature)
        return signature

    def _standing(self, keys: list[Pubkey]) -> tuple[list[int], list[Held]]:
        accounts = [self._run(self._svm.get_account, key) for key in keys]
        lamports = [account.lamports if account is not None else 0 for account in accounts]
        held = []
        for index, account in enumerate(accounts):
            if account is None or account.owner != TOKEN_PROGRAM:
                continue
            if len(account.data) == TOKEN_ACCOUNT_BYTES:
                tokens = TokenAccount.from_bytes(account.data)
                mint, owner = str(tokens.mint), str(tokens.owner)
                held.append(Held(index=index, mint=mint, owner=owner, amount=tokens.amount))
        return lamports, held

    def _found(self) -> None:
        """What is there from the beginning: the faucet's lamports and the dollar."""
        faucet = _FAUCET.pubkey()
        self._run(self._svm.set_account, faucet, Account(_FAUCET_LAMPORTS, b"", SYSTEM_PROGRAM))
        mint = bytes(Mint(faucet, 0, DECIMALS, True))  # noqa: FBT003 (the library's signature)
        self._run(self._svm.set_account, _MINT, Account(self.rent(len(mint)), mint, TOKEN_PROGRAM))


def _opening(payer: Pubkey, owner: Pubkey, account: Pubkey) -> Instruction:
    """Create the owner's token account unless it is there."""
    return Instruction(
        _ATA_PROGRAM,
        bytes([1]),
        [
            AccountMeta(payer, is_signer=True, is_writable=True),
            AccountMeta(account, is_signer=False, is_writable=True),
            AccountMeta(owner, is_signer=False, is_writable=False),
            AccountMeta(_MINT, is_signer=False, is_writable=False),
            AccountMeta(SYSTEM_PROGRAM, is_signer=False, is_writable=False),
            AccountMeta(TOKEN_PROGRAM, is_signer=False, is_writable=False),
        ],
    )


def _blockhash(slot: int) -> Hash:
    return Hash(sha256(_LABEL + slot.to_bytes(8, "little", signed=True)).digest())


def _ran(done: TransactionMetadata | FailedTransactionMetadata) -> Ran:
    if isinstance(done, FailedTransactionMetadata):
        meta, error = done.meta(), json_of(done.err())
    else:
        meta, error = done, None
    return Ran(error=error, logs=meta.logs(), units=meta.compute_units_consumed())
