"""What a Tempo node is asked: to send a transaction, and what became of it."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from itertools import count

import httpx

from adapters.rails.rpc import Rpc

_TRANSFER_WITH_MEMO = "0x57bc7354aa85aed339e000bccffabbc529466af35f0772c8f8ee1145927de7f0"
_BALANCE_OF = "0x70a08231"
# EIP-7966: the node has it, and it was not in a block before the node stopped waiting.
_TAKEN_CODE = 4
_UNKNOWN_METHOD_CODE = -32601
_TAKEN_WORDS = re.compile(r"already|known transaction|nonce too low", re.IGNORECASE)
_SHOWN_MAX = 200


class NodeRefusal(ConnectionError):  # noqa: N818 (it is an answer; no answer is the parent)
    """The node answered with a JSON-RPC error: its `code` and `message`."""

    def __init__(self, method: str, *, code: int, message: str) -> None:
        super().__init__(f"{method}: the node refused: {message[:_SHOWN_MAX]}")
        self.code = code
        self.message = message[:_SHOWN_MAX]


class TempoRpc:
    """Implements `Rpc` over HTTP; an error that the node gives is a `NodeRefusal`.

    The URL may hold an access key, so it appears in no message.
    """

    def __init__(self, url: str, *, timeout_ms: int = 30_000) -> None:
        self._url = url
        self._client = httpx.AsyncClient(timeout=timeout_ms / 1000, follow_redirects=False)
        self._ids = count(1)

    async def call(self, method: str, params: list[object]) -> object:
        request = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}
        try:
            reply = (await self._client.post(self._url, json=request)).json()
        except (httpx.HTTPError, ValueError) as error:
            msg = f"{method}: the node gave no answer ({type(error).__name__})"
            raise ConnectionError(msg) from None
        if isinstance(reply, dict) and "result" in reply:
            return reply["result"]
        told = reply.get("error") if isinstance(reply, dict) else None
        if not isinstance(told, dict):
            msg = f"{method}: the node gave no answer (nothing of JSON-RPC)"
            raise ConnectionError(msg)
        code = told.get("code")
        raise NodeRefusal(
            method, code=code if isinstance(code, int) else 0, message=str(told.get("message"))
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoTransfer:
    """A `TransferWithMemo` of a token as it stands in a receipt; all in lower case hex."""

    token: str
    payer: str
    pay_to: str
    amount: int
    memo: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TempoReceipt:
    """What became of a transaction: whether it succeeded, and the transfers that it made."""

    succeeded: bool
    transfers: tuple[MemoTransfer, ...]


class TempoNode:
    """Asks a node; ConnectionError where there is no answer, or none that makes sense."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc

    async def chain_id(self) -> int:
        return _number(await self._rpc.call("eth_chainId", []))

    async def gas_price(self) -> int:
        """What gas costs now, in attodollars."""
        return _number(await self._rpc.call("eth_gasPrice", []))

    async def time_s(self) -> int:
        """The newest block's time, Unix seconds."""
        head = _object(await self._rpc.call("eth_getBlockByNumber", ["latest", False]))
        return _number(head.get("timestamp"))

    async def balance(self, token: str, owner: str) -> int:
        """In base units of the token."""
        data = _BALANCE_OF + owner.lower().removeprefix("0x").rjust(64, "0")
        return _number(await self._rpc.call("eth_call", [{"to": token, "data": data}, "latest"]))

    async def receipt(self, transaction: str) -> TempoReceipt | None:
        """None where the node does not have it."""
        found = await self._rpc.call("eth_getTransactionReceipt", [transaction])
        if found is None:
            return None
        receipt = _object(found)
        if str(receipt.get("transactionHash")).lower() != transaction:
            msg = "the node answered with the receipt of another transaction"
            raise ConnectionError(msg)
        logs = receipt.get("logs")
        if not isinstance(logs, list):
            msg = "the node answered with a receipt without logs"
            raise ConnectionError(msg)
        return TempoReceipt(
            succeeded=_number(receipt.get("status")) == 1,
            transfers=tuple(
                _memo_transfer(log)
                for log in map(_object, logs)
                if _topics(log)[:1] == [_TRANSFER_WITH_MEMO]
            ),
        )

    async def send(self, raw: str, *, timeout_ms: int) -> str:
        """Send it and wait; why the node would not take it, or "" where it may have.

        What the node says of success is not looked at: the receipt is read afterwards.
        """
        # EIP-7966 bounds the node's own waiting; ours ends later, or its answer would be lost.
        wait_ms = timeout_ms * 2 // 3
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                await self._send(raw, wait_ms)
        except (ConnectionError, TimeoutError) as error:
            message = str(getattr(error, "message", ""))
            taken = _code(error) in (None, _TAKEN_CODE) or _TAKEN_WORDS.search(message)
            return "" if taken else f"the chain does not take it: {message[:_SHOWN_MAX]}"
        return ""

    async def _send(self, raw: str, wait_ms: int) -> None:
        try:
            await self._rpc.call("eth_sendRawTransactionSync", [raw, wait_ms])
        except ConnectionError as error:
            if _code(error) != _UNKNOWN_METHOD_CODE:
                raise
            await self._rpc.call("eth_sendRawTransaction", [raw])


def _code(error: Exception) -> object:
    """The code of a node's refusal, here or in the process; None where there was no answer."""
    return getattr(error, "code", None)


def _memo_transfer(log: dict[str, object]) -> MemoTransfer:
    topics = _topics(log)
    try:
        _, payer, pay_to, memo = topics
    except ValueError:
        msg = "the node answered with a log that is no transfer"
        raise ConnectionError(msg) from None
    return MemoTransfer(
        token=str(log.get("address")).lower(),
        payer="0x" + payer[-40:],
        pay_to="0x" + pay_to[-40:],
        amount=_number(log.get("data")),
        memo=memo,
    )


def _topics(log: dict[str, object]) -> list[str]:
    topics = log.get("topics")
    return [str(topic).lower() for topic in topics] if isinstance(topics, list) else []


def _number(value: object) -> int:
    try:
        return int(str(value), 16)
    except ValueError:
        msg = "the node answered with something that is no number"
        raise ConnectionError(msg) from None


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        msg = "the node answered with something that is no object"
        raise ConnectionError(msg)
    return value
