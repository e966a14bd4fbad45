"""The sandbox chain as a node shows it: Ethereum JSON-RPC, in the process and over HTTP."""

from __future__ import annotations

import asyncio
import json

from aiohttp import web

from adapters.sandbox.evm import CHAIN_ID, Log, Receipt, RevertedError, SandboxChain
from adapters.sandbox.faults import Faults

_BODY_BYTES_MAX = 256 * 1024
_ZERO_HASH = "0x" + "00" * 32

Envelope = dict[str, object]


class RpcRefusedError(Exception):
    """A JSON-RPC error with its code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class SandboxNode:
    """Answers the JSON-RPC methods that payment clients and readers use.

    It keeps no old state: a call pinned to an earlier block is answered from the newest.
    """

    def __init__(self, chain: SandboxChain, faults: Faults | None = None) -> None:
        self._chain = chain
        self._faults = faults or Faults()

    async def call(self, method: str, params: list[object]) -> object:
        """One call in the process; ConnectionError where a real node would give no answer."""
        try:
            # In a thread: the chain may be busy writing its journal.
            return await asyncio.to_thread(self.answer, method, params)
        except RpcRefusedError as error:
            raise ConnectionError(str(error)) from error

    def answer(self, method: str, params: list[object]) -> object:
        """The result of one call; RpcRefusedError for what a node refuses."""
        if self._faults.chain_unreadable:
            raise RpcRefusedError(-32000, "the sandbox chain is switched off")
        try:
            return self._dispatch(method, params)
        except RevertedError as error:
            raise RpcRefusedError(3, str(error)) from error
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise RpcRefusedError(-32602, f"invalid params for {method}") from error

    def _dispatch(  # noqa: PLR0911 (a table of methods)
        self, method: str, params: list[object]
    ) -> object:
        chain = self._chain
        match method, params:
            case "eth_chainId", _:
                return hex(CHAIN_ID)
            case "net_version", _:
                return str(CHAIN_ID)
            case "eth_blockNumber", _:
                return hex(chain.head())
            case "eth_getBlockByNumber", [str(tag), *_]:
                return self._block(tag)
            case "eth_getBalance", [str(address), *_]:
                return hex(chain.balance_wei(address))
            case "eth_getCode", [str(address), *_]:
                return "0x" + chain.code(address).hex()
            case "eth_call", [dict(call), *_]:
                data = call.get("data") or call.get("input") or "0x"
                return "0x" + chain.read(to=call["to"], data=_from_hex(data)).hex()
            case "eth_getLogs", [dict(wanted)]:
                return self._logs(wanted)
            case "eth_getTransactionReceipt", [str(transaction)]:
                receipt = chain.receipt(transaction)
                return None if receipt is None else _receipt_json(receipt)
        raise RpcRefusedError(-32601, f"the sandbox does not answer {method} so")

    def _block(self, tag: str) -> object:
        number = self._number(tag)
        time_s = self._chain.block_time_s(number)
        if time_s is None:
            return None
        return {"number": hex(number), "timestamp": hex(time_s), "transactions": []}

    def _logs(self, wanted: Envelope) -> object:
        first = self._number(str(wanted.get("fromBlock", "latest")))
        last = self._number(str(wanted.get("toBlock", "latest")))
        address = wanted.get("address")
        topics = wanted.get("topics", [])
        if not isinstance(topics, list):
            raise TypeError(topics)
        return [
            _log_json(log)
            for log in self._chain.logs(first_block=first, last_block=last)
            if address is None or log.address == str(address).lower()
            if _matches(log.topics, topics)
        ]

    def _number(self, tag: str) -> int:
        if tag in ("latest", "pending", "safe", "finalized"):
            return self._chain.head()
        return 0 if tag == "earliest" else int(tag, 16)


def node_app(node: SandboxNode) -> web.Application:
    """The node over HTTP: POST / with one JSON-RPC call or a list of them."""

    async def post(request: web.Request) -> web.Response:
        return await answer_post(node, request)

    app = web.Application(client_max_size=_BODY_BYTES_MAX)
    app.router.add_post("/", post)
    return app


async def answer_post(node: SandboxNode, request: web.Request) -> web.Response:
    """One JSON-RPC call or a list of them, in the body of a request."""
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError):
        return web.json_response(_failure(None, -32700, "parse error"))
    if isinstance(body, list):
        replies = [await asyncio.to_thread(_reply, node, call) for call in body]
        return web.json_response(replies)
    return web.json_response(await asyncio.to_thread(_reply, node, body))


def _reply(node: SandboxNode, call: object) -> Envelope:
    if not isinstance(call, dict) or not isinstance(call.get("params", []), list):
        return _failure(None, -32600, "invalid request")
    try:
        result = node.answer(str(call.get("method")), call.get("params", []))
    except RpcRefusedError as error:
        return _failure(call.get("id"), error.code, str(error))
    return {"jsonrpc": "2.0", "id": call.get("id"), "result": result}


def _failure(call_id: object, code: int, message: str) -> Envelope:
    return {"jsonrpc": "2.0", "id": call_id, "error": {"code": code, "message": message}}


def _matches(topics: tuple[str, ...], wanted: list[object]) -> bool:
    if len(wanted) > len(topics):
        return False
    return all(
        one is None or topic in [str(item).lower() for item in _choices(one)]
        for topic, one in zip(topics, wanted, strict=False)
    )


def _choices(wanted: object) -> list[object]:
    return wanted if isinstance(wanted, list) else [wanted]


def _from_hex(text: object) -> bytes:
    return bytes.fromhex(str(text).removeprefix("0x"))


def _log_json(log: Log) -> Envelope:
    return {
        "address": log.address,
        "topics": list(log.topics),
        "data": log.data,
        "blockNumber": hex(log.block),
        "blockHash": _ZERO_HASH,
        "logIndex": hex(log.index),
        "transactionHash": log.transaction,
        "transactionIndex": "0x0",
        "removed": False,
    }


def _receipt_json(receipt: Receipt) -> Envelope:
    return {
        "transactionHash": receipt.transaction,
        "transactionIndex": "0x0",
        "blockNumber": hex(receipt.block),
        "blockHash": _ZERO_HASH,
        "status": hex(receipt.succeeded),
        "gasUsed": hex(receipt.gas_used),
        "logs": [_log_json(log) for log in receipt.logs],
    }
