"""How a thread asks a node: one JSON-RPC call at a time, and who failed, the line or the call."""

from __future__ import annotations

from itertools import count

import httpx
from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

_ERROR_STRING = "0x08c379a0"
_SHOWN_MAX = 300


class NodeSilentError(ConnectionError):
    """No answer came; what was asked may have been done none the less."""


class NodeRefusedError(ConnectionError):
    """The node answered, and said no: in its own words, with the contract's where it gave some."""


class NodeLine:
    """A node by URL, for any number of threads; the URL may hold a key, so no message has it."""

    def __init__(self, url: str, *, timeout_ms: int = 10_000) -> None:
        self._url = url
        self._client = httpx.Client(timeout=timeout_ms / 1000, follow_redirects=False)
        self._ids = count(1)

    def call(self, method: str, params: list[object]) -> object:
        """The decoded `result`; NodeRefusedError or NodeSilentError where there is none."""
        request = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}
        try:
            # An error may come with any status; what counts is that it is JSON-RPC.
            reply = self._client.post(self._url, json=request).json()
        except (httpx.HTTPError, ValueError) as error:
            msg = f"{method}: the node gave no answer ({type(error).__name__})"
            raise NodeSilentError(msg) from None
        if isinstance(reply, dict) and "result" in reply:
            return reply["result"]
        refusal = reply.get("error") if isinstance(reply, dict) else None
        if not isinstance(refusal, dict):
            msg = f"{method}: the node gave no answer (nothing of JSON-RPC)"
            raise NodeSilentError(msg)
        msg = f"{method}: {_words(refusal)}"
        raise NodeRefusedError(msg)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def quantity(value: object) -> int:
    """A number as nodes write it; NodeSilentError for what is none."""
    try:
        return int(str(value), 16)
    except ValueError:
        msg = "the node answered with something that is no number"
        raise NodeSilentError(msg) from None


def octets(value: object) -> bytes:
    """Bytes as nodes write them; NodeSilentError for what is none."""
    try:
        return bytes.fromhex(str(value).removeprefix("0x"))
    except ValueError:
        msg = "the node answered with something that is no hex"
        raise NodeSilentError(msg) from None


def _words(error: dict[str, object]) -> str:
    """Some nodes say only that a call reverted, and leave the contract's reason in the data."""
    message = str(error.get("message"))[:_SHOWN_MAX]
    data = error.get("data")
    if isinstance(data, str) and data.startswith(_ERROR_STRING):
        try:
            (reason,) = decode(["string"], bytes.fromhex(data.removeprefix(_ERROR_STRING)))
        except (DecodingError, ValueError):
            return message
        if reason not in message:
            return f"{message}: {str(reason)[:_SHOWN_MAX]}"
    return message
