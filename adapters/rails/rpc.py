"""How we ask a node: one JSON-RPC call at a time, over HTTP or in the process."""

from __future__ import annotations

from itertools import count
from typing import Protocol

import httpx


class Rpc(Protocol):
    """A chain's node.

    Shape:  a method's name and its parameters in, the decoded `result` out.
    Units:  as Ethereum's JSON-RPC: quantities are 0x hex without leading zeros.
    Errors: ConnectionError for everything that is not a result.
    Source: https://ethereum.org/en/developers/docs/apis/json-rpc (2025).
    """

    async def call(self, method: str, params: list[object]) -> object: ...


class HttpRpc:
    """A node by URL; the URL may hold an access key, so it appears in no message."""

    def __init__(self, url: str, *, timeout_ms: int = 10_000) -> None:
        self._url = url
        self._client = httpx.AsyncClient(timeout=timeout_ms / 1000, follow_redirects=False)
        self._ids = count(1)

    async def call(self, method: str, params: list[object]) -> object:
        """Post one call; see `Rpc`."""
        request = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}
        try:
            response = await self._client.post(self._url, json=request)
            response.raise_for_status()
            reply = response.json()
        except (httpx.HTTPError, ValueError) as error:
            msg = f"{method}: the node gave no answer ({type(error).__name__})"
            raise ConnectionError(msg) from None
        if not isinstance(reply, dict) or "result" not in reply:
            msg = f"{method}: the node refused: {_error_text(reply)}"
            raise ConnectionError(msg)
        return reply["result"]

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _error_text(reply: object) -> str:
    error = reply.get("error") if isinstance(reply, dict) else None
    return str(error.get("message") if isinstance(error, dict) else error)[:200]
