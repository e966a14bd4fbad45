"""How we ask a TRON node: its HTTP interface, of which JSON-RPC is one path."""

from __future__ import annotations

from itertools import count
from typing import Protocol

import httpx

JSON_RPC = "jsonrpc"


class TronNode(Protocol):
    """A full node, or a service in front of some.

    Shape:  a path (`wallet/getnowblock`, or `jsonrpc`) and a JSON body in, a JSON object out.
    Units:  as the node's: addresses in hex unless `visible`, times in ms.
    Errors: ConnectionError for everything that is not a JSON object.
    Source: https://developers.tron.network/reference (2025).
    """

    async def ask(self, path: str, body: dict[str, object]) -> dict[str, object]: ...


class HttpTronNode:
    """A node by URL; the URL and the key may give access, so they appear in no message."""

    def __init__(self, url: str, *, key: str = "", timeout_ms: int = 10_000) -> None:
        self._url = url.rstrip("/")
        self._client = httpx.AsyncClient(
            headers={"TRON-PRO-API-KEY": key} if key else {},
            timeout=timeout_ms / 1000,
            follow_redirects=False,
        )

    async def ask(self, path: str, body: dict[str, object]) -> dict[str, object]:
        """Post one question; see `TronNode`."""
        try:
            response = await self._client.post(f"{self._url}/{path}", json=body)
            response.raise_for_status()
            answer = response.json()
        except (httpx.HTTPError, ValueError) as error:
            msg = f"{path}: the node gave no answer ({type(error).__name__})"
            raise ConnectionError(msg) from None
        if not isinstance(answer, dict):
            msg = f"{path}: the node answered with something that is no object"
            raise ConnectionError(msg)
        return answer

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


class TronRpc:
    """The node's JSON-RPC: its logs can be searched by topic only there."""

    def __init__(self, node: TronNode) -> None:
        self._node = node
        self._ids = count(1)

    async def call(self, method: str, params: list[object]) -> object:
        """One call; ConnectionError where there is no result."""
        request: dict[str, object] = {"jsonrpc": "2.0", "id": next(self._ids)}
        reply = await self._node.ask(JSON_RPC, request | {"method": method, "params": params})
        if "result" not in reply:
            told = reply.get("error")
            text = told.get("message") if isinstance(told, dict) else told
            msg = f"{method}: the node refused: {str(text)[:200]}"
            raise ConnectionError(msg)
        return reply["result"]
