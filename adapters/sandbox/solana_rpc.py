"""The sandbox cluster as a node shows it: Solana's JSON-RPC, in the process and over HTTP."""

from __future__ import annotations

import asyncio
import json

from aiohttp import web

from adapters.sandbox.faults import Faults
from adapters.sandbox.solana import SolanaChain
from adapters.sandbox.solana_answers import (
    ACCOUNTS_MAX,
    METHODS,
    Call,
    Envelope,
    SolanaRpcRefusedError,
)

_BODY_BYTES_MAX = 256 * 1024


class SolanaNode:
    """Answers the JSON-RPC methods that payment clients, facilitators and readers use.

    Commitment counts for blockhashes and transactions; accounts are shown as they are now.
    """

    def __init__(self, chain: SolanaChain, faults: Faults | None = None) -> None:
        self._chain = chain
        self._faults = faults or Faults()

    async def call(self, method: str, params: list[object]) -> object:
        """One call in the process; ConnectionError where a real node would give no answer."""
        try:
            # In a thread: the chain may be busy writing its journal.
            return await asyncio.to_thread(self.answer, method, params)
        except SolanaRpcRefusedError as error:
            raise ConnectionError(str(error)) from error

    def answer(self, method: str, params: list[object]) -> object:
        """The result of one call; SolanaRpcRefusedError for what a node refuses."""
        if self._faults.chain_unreadable:
            raise SolanaRpcRefusedError(-32000, "the sandbox chain is switched off")
        handler = METHODS.get(method)
        if handler is None:
            raise SolanaRpcRefusedError(-32601, f"the sandbox does not know {method}")
        try:
            return handler(Call(self._chain, params))
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise SolanaRpcRefusedError(-32602, f"invalid params for {method}") from error

    async def respond(self, request: web.Request) -> web.Response:
        """One call or a list of them, posted."""
        if request.method != "POST":
            return web.json_response(_failure(None, -32600, "expected POST"), status=405)
        try:
            body = json.loads(await request.read())
        except (ValueError, RecursionError):
            return web.json_response(_failure(None, -32700, "parse error"))
        if isinstance(body, list):
            replies = [await asyncio.to_thread(self._reply, call) for call in body[:ACCOUNTS_MAX]]
            return web.json_response(replies)
        return web.json_response(await asyncio.to_thread(self._reply, body))

    def _reply(self, call: object) -> Envelope:
        if not isinstance(call, dict) or not isinstance(call.get("params") or [], list):
            return _failure(None, -32600, "invalid request")
        try:
            result = self.answer(str(call.get("method")), call.get("params") or [])
        except SolanaRpcRefusedError as error:
            return _failure(call.get("id"), error.code, str(error), error.data)
        return {"jsonrpc": "2.0", "id": call.get("id"), "result": result}


def solana_node_app(node: SolanaNode) -> web.Application:
    """The node over HTTP, at /."""
    app = web.Application(client_max_size=_BODY_BYTES_MAX)
    app.router.add_route("*", "/", node.respond)
    return app


def _failure(call_id: object, code: int, message: str, data: object = None) -> Envelope:
    error: Envelope = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return {"jsonrpc": "2.0", "id": call_id, "error": error}
