"""Why a Solana transaction failed, in the words of JSON-RPC."""

from __future__ import annotations

from solders.transaction_status import (
    InstructionErrorCustom,
    TransactionErrorDuplicateInstruction,
    TransactionErrorFieldless,
    TransactionErrorInstructionError,
    TransactionErrorInsufficientFundsForRent,
    TransactionErrorType,
)


def json_of(error: TransactionErrorType) -> object:
    """A name, or an object of one name; see `TransactionError` in Solana's RPC (2025)."""
    match error:
        case TransactionErrorInstructionError():
            inner = error.err
            if isinstance(inner, InstructionErrorCustom):
                return {"InstructionError": [error.index, {"Custom": inner.code}]}
            return {"InstructionError": [error.index, _name(inner)]}
        case TransactionErrorFieldless():
            return _name(error)
        case TransactionErrorInsufficientFundsForRent():
            return {"InsufficientFundsForRent": {"account_index": error.account_index}}
        case TransactionErrorDuplicateInstruction():
            return {"DuplicateInstruction": error.index}
        case _:
            return _name(error)


def _name(error: object) -> str:
    """`TransactionErrorFieldless.AccountNotFound` is `AccountNotFound`."""
    return str(error).rpartition(".")[2]
