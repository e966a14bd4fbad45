"""An EVM without a chain around it: py-evm's interpreter over accounts and code in memory.

py-evm is an optional extra and takes a tenth of a second: import this module where it is used.
"""

from __future__ import annotations

from eth.abc import ComputationAPI, StateAPI
from eth.constants import BLANK_ROOT_HASH, ZERO_HASH32
from eth.db.atomic import AtomicDB
from eth.vm.execution_context import ExecutionContext
from eth.vm.forks.shanghai.state import ShanghaiState
from eth.vm.forks.shanghai.transactions import ShanghaiTransactionBuilder
from eth.vm.message import Message
from eth.vm.spoof import SpoofTransaction
from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_typing import BlockNumber
from eth_utils.address import to_canonical_address

from adapters.sandbox.execution import GAS_LIMIT, Emitted, Execution, RevertedError
from adapters.sandbox.journal import Transaction

_BLOCK_GAS_LIMIT = 30_000_000
# What is given back for storage set free is at most this part of the gas (EIP-3529).
_REFUND_PART = 5
# Changes pile up in memory in the order they were made; now and then they are folded.
_FOLD_EVERY = 256
_ERROR_STRING = bytes.fromhex("08c379a0")


class Machine:
    """State and interpreter at one fork, Shanghai: what the token was compiled for.

    Fees go to `fee_vault`; the base fee is zero. Nothing is signed: the sender is believed. One
    caller at a time.
    """

    def __init__(self, *, chain_id: int, fee_vault: str) -> None:
        self._chain_id = chain_id
        self._fee_vault = to_canonical_address(fee_vault)
        self._executed = 0
        self._state: StateAPI = ShanghaiState(AtomicDB(), self._block(0, 0), BLANK_ROOT_HASH)

    def place(self, address: str, *, code: bytes = b"", balance_wei: int = 0) -> None:
        """Put an account there as genesis would."""
        account = to_canonical_address(address)
        if code:
            self._state.set_code(account, code)
            self._state.set_nonce(account, 1)
        if balance_wei:
            self._state.set_balance(account, balance_wei)
        self._state.lock_changes()

    def balance_wei(self, address: str) -> int:
        return self._state.get_balance(to_canonical_address(address))

    def code(self, address: str) -> bytes:
        return self._state.get_code(to_canonical_address(address))

    def execute(self, sent: Transaction, *, gas_price_wei: int) -> Execution:
        """Run a transaction in its block; eth_utils' ValidationError where it cannot be paid."""
        sender = to_canonical_address(sent.caller)
        unsigned = ShanghaiTransactionBuilder.create_unsigned_transaction(
            nonce=self._state.get_nonce(sender),
            gas_price=gas_price_wei,
            gas=GAS_LIMIT,
            to=to_canonical_address(sent.to),
            value=sent.value_wei,
            data=sent.data,
        )
        self._state.execution_context = self._block(sent.block, sent.time_s)
        done = self._state.apply_transaction(
            SpoofTransaction(unsigned, from_=sender)  # type: ignore[arg-type]  # it stands in for a signed one
        )
        self._state.lock_changes()
        self._executed += 1
        if self._executed % _FOLD_EVERY == 0:
            self._state.persist()
        used = GAS_LIMIT - done.get_gas_remaining()
        return Execution(
            succeeded=done.is_success,
            gas_used=used - min(done.get_gas_refund(), used // _REFUND_PART),
            logs=_logs(done),
        )

    def call(self, *, caller: str, to: str, data: bytes, block: int, time_s: int) -> bytes:
        """Run a message and undo it; RevertedError where it was refused."""
        state, target, sender = self._state, to_canonical_address(to), to_canonical_address(caller)
        state.execution_context = self._block(block, time_s)
        message = Message(
            gas=GAS_LIMIT,
            to=target,
            sender=sender,
            value=0,
            data=data,
            code=state.get_code(target),
        )
        transaction = state.get_transaction_context_class()(gas_price=0, origin=sender)
        before = state.snapshot()
        try:
            done = state.computation_class.apply_message(state, message, transaction)
        finally:
            state.revert(before)
        if done.is_error:
            raise RevertedError(_reason(done))
        return done.output

    def _block(self, number: int, time_s: int) -> ExecutionContext:
        return ExecutionContext(
            coinbase=self._fee_vault,
            timestamp=time_s,
            block_number=BlockNumber(number),
            difficulty=0,
            mix_hash=ZERO_HASH32,
            gas_limit=_BLOCK_GAS_LIMIT,
            prev_hashes=(),
            chain_id=self._chain_id,
            base_fee_per_gas=0,
        )


def _logs(done: ComputationAPI) -> tuple[Emitted, ...]:
    return tuple(
        Emitted(
            address="0x" + address.hex(),
            topics=tuple(f"0x{topic:064x}" for topic in topics),
            data="0x" + data.hex(),
        )
        for address, topics, data in done.get_log_entries()
    )


def _reason(done: ComputationAPI) -> str:
    """The contract's own words where it gave some; else its bytes, or what went wrong inside."""
    output = done.output
    if output[:4] == _ERROR_STRING:
        try:
            (reason,) = decode(["string"], output[4:])
        except DecodingError:
            return f"execution reverted: 0x{output.hex()}"
        return f"execution reverted: {reason}"
    said = "0x" + output.hex() if output else type(done.error).__name__
    return f"execution reverted: {said}"
