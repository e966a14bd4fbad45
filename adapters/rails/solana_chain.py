"""What Solana says of a transfer: that it can still land, that it paid us, that it never will."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import base58
from solders.token.state import TokenAccount
from solders.transaction import VersionedTransaction

from adapters.rails.rpc import Rpc
from adapters.rails.solana_transfer import TOKEN_PROGRAM, SolanaTransfer, digest_of

# Optimistically confirmed: two thirds of the stake voted for it, and none was ever rolled back.
_CONFIRMED = "confirmed"
_FINALIZED = "finalized"
_SETTLED_LEVELS = (_CONFIRMED, _FINALIZED)
_PAGE = 200
_SIGNATURE_BYTES = 64
_TOKEN_ACCOUNT_BYTES = 165


@dataclass(frozen=True, slots=True)
class Paid:
    """The transfer's transaction moved exactly its amount to its destination."""

    transaction: str


@dataclass(frozen=True, slots=True)
class Spoiled:
    """It was on the chain and paid nothing, or something else; it cannot be there twice."""

    transaction: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A token account: its `amount` is in token base units."""

    mint: str
    owner: str
    amount: int


class SolanaReader:
    """Reads through a node's JSON-RPC; ConnectionError where it gives no clear answer.

    The payer's token account is what a transfer is looked for in: it sees fewer others than ours,
    and nobody fills it without paying its owner. At most `pages_max` times 200 are searched.
    """

    def __init__(self, rpc: Rpc, *, pages_max: int = 50) -> None:
        self._rpc = rpc
        self._pages_max = pages_max

    async def find(
        self, transfer: SolanaTransfer, *, since_s: int, hint: str = "", seen_slot: int = 0
    ) -> Paid | Spoiled | None:
        """What became of a transfer; None where there is no trace of it.

        `hint` is what somebody says its transaction is; `since_s` the earliest time (Unix seconds)
        it can have landed. A node that has not come to `seen_slot` yet may not say None.
        """
        if _is_signature(hint) and await self._is_settled(hint):
            found = await self._judge(transfer, hint)
            if found is not None:
                return found
        before = None
        for _ in range(self._pages_max):
            page = await self._signatures(transfer.source, before=before, seen_slot=seen_slot)
            for entry in page:
                if _may_be(entry, transfer):
                    found = await self._judge(transfer, str(entry.get("signature")))
                    if found is not None:
                        return found
            if len(page) < _PAGE or _is_before(page[-1], since_s):
                return None
            before = str(page[-1].get("signature"))
        msg = "the payer's account has too many transactions to be searched"
        raise ConnectionError(msg)

    async def over_at(self, blockhash: str) -> int | None:
        """The slot by which no transaction with this blockhash can land any more, on any fork.

        None while one can. Asked of the finalized chain, so that whatever landed with it is final
        as well. A blockhash too new to be known there reads as if it were over: whoever asks must
        have known it for a while.
        """
        answer = await self._rpc.call("isBlockhashValid", [blockhash, {"commitment": _FINALIZED}])
        match answer:
            case {"value": True}:
                return None
            case {"value": False, "context": {"slot": int(slot)}}:
                return slot
        raise _unclear("isBlockhashValid")

    async def trial(self, transfer: SolanaTransfer) -> object:
        """Why the chain would refuse it now, as JSON-RPC says it; None where it would not."""
        how = {"encoding": "base64", "sigVerify": False, "commitment": "processed"}
        answer = await self._rpc.call("simulateTransaction", [transfer.transaction, how])
        value = _value(answer)
        if not isinstance(value, dict) or "err" not in value:
            raise _unclear("simulateTransaction")
        return value["err"]

    async def latest_blockhash(self) -> str:
        answer = await self._rpc.call("getLatestBlockhash", [{"commitment": _CONFIRMED}])
        value = _value(answer)
        if not isinstance(value, dict) or not isinstance(value.get("blockhash"), str):
            raise _unclear("getLatestBlockhash")
        return str(value["blockhash"])

    async def holding(self, account: str) -> Holding | None:
        """What lies in a token account; None where there is none."""
        how = {"encoding": "base64", "commitment": _CONFIRMED}
        match _value(await self._rpc.call("getAccountInfo", [account, how])):
            case None:
                return None
            case {"data": [str(text), *_], "owner": program}:
                return _holding(text, str(program))
            case _:
                raise _unclear("getAccountInfo")

    async def lamports(self, address: str) -> int:
        answer = _value(await self._rpc.call("getBalance", [address, {"commitment": _CONFIRMED}]))
        if not isinstance(answer, int):
            raise _unclear("getBalance")
        return answer

    async def genesis(self) -> str:
        """The hash of the chain's first block: which chain this is."""
        return str(await self._rpc.call("getGenesisHash", []))

    async def _is_settled(self, transaction: str) -> bool:
        how = {"searchTransactionHistory": True}
        answer = _value(await self._rpc.call("getSignatureStatuses", [[transaction], how]))
        status = answer[0] if isinstance(answer, list) and answer else None
        return isinstance(status, dict) and status.get("confirmationStatus") in _SETTLED_LEVELS

    async def _signatures(
        self, account: str, *, before: str | None, seen_slot: int
    ) -> list[dict[str, object]]:
        how: dict[str, object] = {"limit": _PAGE, "commitment": _CONFIRMED}
        if seen_slot:
            # Of several nodes behind one address some are late.
            how["minContextSlot"] = seen_slot
        if before is not None:
            how["before"] = before
        page = await self._rpc.call("getSignaturesForAddress", [account, how])
        if not isinstance(page, list) or not all(isinstance(entry, dict) for entry in page):
            raise _unclear("getSignaturesForAddress")
        return page

    async def _judge(self, transfer: SolanaTransfer, transaction: str) -> Paid | Spoiled | None:
        """Paid or spoiled where this transaction is the transfer's; None where it is another."""
        how = {
            "encoding": "base64",
            "commitment": _CONFIRMED,
            "maxSupportedTransactionVersion": 0,
        }
        match await self._rpc.call("getTransaction", [transaction, how]):
            case {"transaction": [str(text), *_], "meta": {"err": error, **rest}}:
                message = _transaction(text).message
            case _:
                # Announced and not shown: the node is late with one of them.
                raise _unclear("getTransaction")
        if digest_of(message) != transfer.digest:
            return None
        if error is not None:
            return Spoiled(transaction)
        index = [str(key) for key in message.account_keys].index(transfer.destination)
        gained = _held(rest.get("postTokenBalances"), index, transfer.mint) - _held(
            rest.get("preTokenBalances"), index, transfer.mint
        )
        return Paid(transaction) if gained == transfer.amount else Spoiled(transaction)


def _may_be(entry: dict[str, object], transfer: SolanaTransfer) -> bool:
    """Nodes say the memos of a transaction, which spares fetching most of the others."""
    said = entry.get("memo")
    if not isinstance(said, str):
        return True
    # What is no text they do not say.
    return all(text in said for text in map(_text, transfer.memos) if text is not None)


def _text(memo: bytes) -> str | None:
    try:
        return memo.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _is_signature(text: str) -> bool:
    try:
        return len(base58.b58decode(text)) == _SIGNATURE_BYTES
    except ValueError:
        return False


def _holding(text: str, program: str) -> Holding | None:
    raw = base64.b64decode(text)
    if program != str(TOKEN_PROGRAM) or len(raw) != _TOKEN_ACCOUNT_BYTES:
        return None
    held = TokenAccount.from_bytes(raw)
    return Holding(mint=str(held.mint), owner=str(held.owner), amount=held.amount)


def _is_before(entry: dict[str, object], since_s: int) -> bool:
    time_s = entry.get("blockTime")
    return isinstance(time_s, int) and time_s < since_s


def _held(balances: object, index: int, mint: str) -> int:
    if not isinstance(balances, list):
        raise _unclear("getTransaction")
    for balance in balances:
        match balance:
            case {"accountIndex": at, "mint": of, "uiTokenAmount": held} if (at, of) == (
                index,
                mint,
            ):
                return _whole(held)
    return 0


def _whole(held: object) -> int:
    match held:
        case {"amount": str(digits)} if digits.isascii() and digits.isdigit():
            return int(digits)
    raise _unclear("token amount")


def _transaction(text: str) -> VersionedTransaction:
    try:
        return VersionedTransaction.from_bytes(base64.b64decode(text))
    except Exception as error:  # The library raises types of its own.
        raise _unclear("getTransaction") from error


def _value(answer: object) -> object:
    if not isinstance(answer, dict) or "value" not in answer:
        raise _unclear("an answer without a value")
    return answer["value"]


def _unclear(what: str) -> ConnectionError:
    return ConnectionError(f"{what}: the node gave no clear answer")
