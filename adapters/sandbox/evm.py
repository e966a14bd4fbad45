"""A Base chain inside the process: real EVM code, real USDC rules, no network and no real money."""

from __future__ import annotations

import sys
import threading
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from eth_abi.abi import encode
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from adapters.sandbox.execution import GAS_LIMIT, RevertedError
from adapters.sandbox.journal import Journal, Transaction
from domain.ports.clock import Clock

if TYPE_CHECKING:
    from adapters.sandbox.machine import Machine

__all__ = [
    "CHAIN_ID",
    "FEE_VAULT",
    "GAS_LIMIT",
    "GAS_PRICE_WEI",
    "USDC",
    "Log",
    "Receipt",
    "RevertedError",
    "SandboxChain",
    "SendRefusedError",
    "token_code",
]

CHAIN_ID = 8453
USDC = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"
# The token's minter and the source of gas money; nobody holds a key to either.
MINTER = to_checksum_address("0x00000000000000000000000000000000fa0ce700")
FAUCET = to_checksum_address("0x00000000000000000000000000000000fa0ce701")
FEE_VAULT = to_checksum_address("0x4200000000000000000000000000000000000011")
GAS_PRICE_WEI = 1_000_000
_FAUCET_WEI = 10**27


class SendRefusedError(Exception):
    """A node would not take the transaction: its sender cannot pay the gas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """An event of a contract; hex in lower case, `index` counts within its block."""

    address: str
    topics: tuple[str, ...]
    data: str
    block: int
    index: int
    transaction: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of a transaction: every one has a block of its own."""

    transaction: str
    block: int
    succeeded: bool
    gas_used: int
    logs: tuple[Log, ...]


class SandboxChain:
    """One EVM behind one lock: block time is the clock's, each transaction is mined at once.

    State lives in memory. With a journal every transaction is on disk before its hash is known to
    anybody, and a new chain on the same file is the same chain.
    """

    def __init__(self, clock: Clock, *, journal: Path | None = None) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._machine = _machine()
        self._block_times_s = [0]
        self._receipts: dict[str, Receipt] = {}
        self._logs: list[Log] = []
        self.place_code(USDC, token_code())
        self._machine.place(FAUCET, balance_wei=_FAUCET_WEI)
        self._journal = Journal(journal) if journal is not None else None
        for sent in self._journal.read() if self._journal is not None else ():
            self._mine_empty_until(sent.block - 1, time_s=sent.time_s)
            self._execute(sent)

    def place_code(self, address: str, code: bytes) -> None:
        """Put a contract at an address, as genesis would; the journal does not know of it."""
        with self._lock:
            self._machine.place(address, code=code)

    def mint(self, address: str, amount: int) -> str:
        """Create `amount` token base units (microdollars) for an address."""
        selector = keccak(text="mint(address,uint256)")[:4]
        data = selector + encode(["address", "uint256"], [address, amount])
        return self.transact(caller=MINTER, to=USDC, data=data)

    def fund_gas(self, address: str, wei: int = 10**18) -> str:
        """Send an address ether to pay gas with."""
        return self.transact(caller=FAUCET, to=address, value_wei=wei)

    def balance(self, address: str) -> int:
        """The token balance in base units (microdollars)."""
        selector = keccak(text="balanceOf(address)")[:4]
        return int.from_bytes(self.read(to=USDC, data=selector + encode(["address"], [address])))

    def balance_wei(self, address: str) -> int:
        with self._lock:
            return self._machine.balance_wei(address)

    def code(self, address: str) -> bytes:
        with self._lock:
            return self._machine.code(address)

    def transact(self, *, caller: str, to: str, data: bytes = b"", value_wei: int = 0) -> str:
        """Mine a transaction now and return its hash; one that reverts is mined too.

        Raises SendRefusedError where the caller cannot pay; the minter and the faucet pay no gas.
        """
        with self._lock:
            if not self._pays_no_gas(caller):
                needed = GAS_LIMIT * GAS_PRICE_WEI + value_wei
                if self.balance_wei(caller) < needed:
                    msg = f"insufficient funds for gas: {caller} needs {needed} wei"
                    raise SendRefusedError(msg)
            sent = Transaction(
                block=len(self._block_times_s),
                time_s=self._now_s(),
                caller=caller,
                to=to,
                data=data,
                value_wei=value_wei,
            )
            if self._journal is not None:
                self._journal.append(sent)
            return self._execute(sent)

    def read(self, *, to: str, data: bytes, caller: str = FAUCET) -> bytes:
        """Call a contract against the newest state and undo it; RevertedError where it refuses."""
        with self._lock:
            return self._machine.call(
                caller=caller,
                to=to,
                data=data,
                block=len(self._block_times_s),
                time_s=self._now_s(),
            )

    def head(self) -> int:
        """The newest block's number; time passes, so an empty block is mined where it is due."""
        with self._lock:
            if self._now_s() > self._block_times_s[-1]:
                self._block_times_s.append(self._now_s())
            return len(self._block_times_s) - 1

    def block_time_s(self, number: int) -> int | None:
        with self._lock:
            known = 0 <= number < len(self._block_times_s)
            return self._block_times_s[number] if known else None

    def receipt(self, transaction: str) -> Receipt | None:
        with self._lock:
            return self._receipts.get(transaction.lower())

    def logs(self, *, first_block: int, last_block: int) -> list[Log]:
        with self._lock:
            first = bisect_left(self._logs, first_block, key=_block_of)
            return self._logs[first : bisect_right(self._logs, last_block, key=_block_of)]

    def _execute(self, sent: Transaction) -> str:
        transaction = "0x" + sent.hash.hex()
        price_wei = 0 if self._pays_no_gas(sent.caller) else GAS_PRICE_WEI
        done = self._machine.execute(sent, gas_price_wei=price_wei)
        self._block_times_s.append(sent.time_s)
        logs = tuple(
            Log(
                address=emitted.address,
                topics=emitted.topics,
                data=emitted.data,
                block=sent.block,
                index=index,
                transaction=transaction,
            )
            for index, emitted in enumerate(done.logs)
        )
        self._logs.extend(logs)
        self._receipts[transaction] = Receipt(
            transaction=transaction,
            block=sent.block,
            succeeded=done.succeeded,
            gas_used=done.gas_used,
            logs=logs,
        )
        return transaction

    def _mine_empty_until(self, number: int, *, time_s: int) -> None:
        while len(self._block_times_s) <= number:
            self._block_times_s.append(time_s)

    def _now_s(self) -> int:
        return max(self._clock.now_ms() // 1000, self._block_times_s[-1])

    @staticmethod
    def _pays_no_gas(caller: str) -> bool:
        return caller in (MINTER, FAUCET)


def _machine() -> Machine:
    """The interpreter, loaded now; loading it raises the recursion limit, so that is put back."""
    depth = sys.getrecursionlimit()
    try:
        from adapters.sandbox.machine import Machine  # noqa: PLC0415 (optional extra, slow)
    finally:
        sys.setrecursionlimit(depth)
    return Machine(chain_id=CHAIN_ID, fee_vault=FEE_VAULT)


def _block_of(log: Log) -> int:
    return log.block


@cache
def token_code() -> bytes:
    """The token's run-time code, compiled from usdc.sol."""
    text = files("adapters.sandbox").joinpath("usdc.hex").read_text("ascii")
    return bytes.fromhex(text.strip())
