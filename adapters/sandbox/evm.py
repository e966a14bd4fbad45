"""A Base chain inside the process: real EVM code, real USDC rules, no network and no real money."""

from __future__ import annotations

import re
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from eth_abi.abi import decode, encode
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from adapters.sandbox.journal import Journal, Transaction
from domain.ports.clock import Clock

if TYPE_CHECKING:
    from pyrevm import EVM, BlockEnv, ExecutionResult

CHAIN_ID = 8453
USDC = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"
# The token's minter and the source of gas money; nobody holds a key to either.
MINTER = to_checksum_address("0x00000000000000000000000000000000fa0ce700")
FAUCET = to_checksum_address("0x00000000000000000000000000000000fa0ce701")
FEE_VAULT = to_checksum_address("0x4200000000000000000000000000000000000011")
GAS_LIMIT = 500_000
GAS_PRICE_WEI = 1_000_000
_FAUCET_WEI = 10**27
# A spec that the code was compiled for; later ones change nothing that it uses.
_SPEC = "SHANGHAI"
_REVERTED = re.compile(r"^Revert \{.*output: 0x([0-9a-f]*)")
_ERROR_STRING = bytes.fromhex("08c379a0")


class RevertedError(Exception):
    """The contract refused; the text is its own, with the word that readers look for."""


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
        from pyrevm import EVM, AccountInfo, BlockEnv, CfgEnv, Env  # noqa: PLC0415 (optional extra)

        self._clock = clock
        self._lock = threading.RLock()
        self._evm: EVM = EVM(
            env=Env(cfg=CfgEnv(chain_id=CHAIN_ID), block=BlockEnv(number=0, timestamp=0)),
            gas_limit=30_000_000,
            spec_id=_SPEC,
        )
        self._block_env: Callable[..., BlockEnv] = BlockEnv
        self._account: Callable[..., AccountInfo] = AccountInfo
        self._block_times_s = [0]
        self._receipts: dict[str, Receipt] = {}
        self._logs: list[Log] = []
        self.place_code(USDC, token_code())
        self._evm.set_balance(FAUCET, _FAUCET_WEI)
        self._journal = Journal(journal) if journal is not None else None
        for sent in self._journal.read() if self._journal is not None else ():
            self._mine_empty_until(sent.block - 1, time_s=sent.time_s)
            self._execute(sent)

    def place_code(self, address: str, code: bytes) -> None:
        """Put a contract at an address, as genesis would; the journal does not know of it."""
        with self._lock:
            self._evm.insert_account_info(address, self._account(nonce=1, code=code))

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
            return self._evm.get_balance(to_checksum_address(address))

    def code(self, address: str) -> bytes:
        with self._lock:
            return bytes(self._evm.get_code(to_checksum_address(address)) or b"")

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
            self._set_block(len(self._block_times_s), self._now_s())
            checkpoint = self._evm.snapshot()
            try:
                with _reverts_told():
                    return bytes(self._evm.message_call(caller, to, calldata=data, gas=GAS_LIMIT))
            finally:
                self._evm.revert(checkpoint)

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
        self._set_block(sent.block, sent.time_s)
        self._block_times_s.append(sent.time_s)
        checkpoint = self._evm.snapshot()
        try:
            self._evm.message_call(
                sent.caller, sent.to, calldata=sent.data, value=sent.value_wei, gas=GAS_LIMIT
            )
        except RuntimeError:
            # Refused by the contract, out of gas or out of ether: mined, and without effect.
            self._evm.revert(checkpoint)
            succeeded = False
        else:
            succeeded = True
        result = self._evm.result
        # A call refused before its first instruction leaves no result; it costs the base fee.
        gas_used = result.gas_used if result is not None else 21_000
        logs = self._logs_of(result, sent.block, transaction) if succeeded else ()
        if succeeded:
            self._evm.commit()
        if not self._pays_no_gas(sent.caller):
            self._charge(sent.caller, gas_used * GAS_PRICE_WEI)
        self._logs.extend(logs)
        self._receipts[transaction] = Receipt(
            transaction=transaction,
            block=sent.block,
            succeeded=succeeded,
            gas_used=gas_used,
            logs=logs,
        )
        return transaction

    def _logs_of(
        self, result: ExecutionResult | None, block: int, transaction: str
    ) -> tuple[Log, ...]:
        if result is None:
            return ()
        return tuple(
            Log(
                address=log.address.lower(),
                topics=tuple(topic.lower() for topic in log.topics),
                data="0x" + log.data[1].hex(),
                block=block,
                index=index,
                transaction=transaction,
            )
            for index, log in enumerate(result.logs)
        )

    def _charge(self, payer: str, wei: int) -> None:
        # The interpreter's bare call takes no gas money, so it is moved as a transfer.
        self._evm.snapshot()
        self._evm.message_call(payer, FEE_VAULT, value=wei, gas=21_000)
        self._evm.commit()

    def _set_block(self, number: int, time_s: int) -> None:
        self._evm.set_block_env(self._block_env(number=number, timestamp=time_s, basefee=0))

    def _mine_empty_until(self, number: int, *, time_s: int) -> None:
        while len(self._block_times_s) <= number:
            self._block_times_s.append(time_s)

    def _now_s(self) -> int:
        return max(self._clock.now_ms() // 1000, self._block_times_s[-1])

    @staticmethod
    def _pays_no_gas(caller: str) -> bool:
        return caller in (MINTER, FAUCET)


def _block_of(log: Log) -> int:
    return log.block


@cache
def token_code() -> bytes:
    """The token's run-time code, compiled from usdc.sol."""
    text = files("adapters.sandbox").joinpath("usdc.hex").read_text("ascii")
    return bytes.fromhex(text.strip())


@contextmanager
def _reverts_told() -> Iterator[None]:
    """Turn the interpreter's one exception type into the contract's own words."""
    try:
        yield
    except RuntimeError as error:
        found = _REVERTED.match(str(error))
        output = bytes.fromhex(found[1]) if found else b""
        if output[:4] == _ERROR_STRING:
            (reason,) = decode(["string"], output[4:])
            msg = f"execution reverted: {reason}"
        else:
            msg = f"execution reverted: {error}"
        raise RevertedError(msg) from error
