"""A customer of a gateway: a wallet that buys, signs, speaks and listens over the wire."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp
from eth_account import Account
from eth_account.messages import encode_defunct
from x402 import x402Client
from x402.http.clients.httpx import x402HttpxClient
from x402.mechanisms.evm.exact.register import register_exact_evm_client
from x402.mechanisms.evm.signers import EthAccountSigner

FRAME_BYTES = 1_920
HEARING_RATE_HZ = 16_000
# 100 ms of 16 kHz PCM16.
_CHUNK_BYTES = 3_200
_REPLY_TIMEOUT_S = 60


class GatewayRefusedError(Exception):
    """The gateway answered with an error; its own text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """48 kHz PCM16 and how long the first frame took."""

    pcm: bytes
    first_audio_ms: int
    total_ms: int


class Customer:
    """One EVM wallet and a gateway's URL; an async context manager."""

    def __init__(self, url: str, secret_key: str) -> None:
        self._url = url.rstrip("/")
        self._wallet = Account.from_key(secret_key)
        self._http = aiohttp.ClientSession()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.close()

    @property
    def address(self) -> str:
        return str(self._wallet.address)

    async def buy(self, amount_usd: str) -> dict[str, Any]:
        """Buy credits by x402: ask, be told the price, sign, pay, be credited."""
        payer = x402Client()
        register_exact_evm_client(payer, EthAccountSigner(self._wallet))
        async with x402HttpxClient(payer, timeout=_REPLY_TIMEOUT_S) as client:
            reply = await client.post(
                f"{self._url}/v1/credits/purchase",
                json={
                    "wallet_address": self.address,
                    "wallet_chain": "evm",
                    "amount_usd": float(amount_usd),
                },
            )
        return _checked(reply.status_code, reply.json())

    async def call(
        self, method: str, path: str, body: dict[str, object] | None = None
    ) -> dict[str, Any]:
        """One signed request."""
        headers = self.headers(method, path)
        async with self._http.request(
            method, self._url + path, json=body, headers=headers
        ) as reply:
            return _checked(reply.status, await reply.json())

    def headers(self, method: str, path: str) -> dict[str, str]:
        """The wallet's signature over method, path and now."""
        now = str(int(time.time()))
        text = f"{method}\n{path.partition('?')[0]}\n{now}"
        signature = self._wallet.sign_message(encode_defunct(text=text)).signature.hex()
        return {
            "Authorization": f"evm:0x{signature.removeprefix('0x')}",
            "X-Wallet-Address": self.address,
            "X-Wallet-Chain": "evm",
            "X-Timestamp": now,
        }

    async def speak(self, ticket: dict[str, Any], text: str, *, voice: str) -> Spoken:
        """Have a sentence spoken; frames arrive as fast as one would listen."""
        async with self._http.ws_connect(_stream(ticket)) as socket:
            await socket.send_json({"session_key": ticket["token"], "config": {"voice": voice}})
            started = time.monotonic()
            await socket.send_json({"text": text})
            frames: list[bytes] = []
            first = 0.0
            while True:
                message = await socket.receive(timeout=_REPLY_TIMEOUT_S)
                if message.type is aiohttp.WSMsgType.BINARY:
                    first = first or time.monotonic()
                    frames.append(message.data)
                    continue
                if _told(message)["type"] == "done":
                    break
            return Spoken(
                pcm=b"".join(frames),
                first_audio_ms=round((first - started) * 1_000),
                total_ms=round((time.monotonic() - started) * 1_000),
            )

    async def listen(self, ticket: dict[str, Any], *, language: str) -> Call:
        """Open a line to be heard on; the clock runs until it is hung up."""
        socket = await self._http.ws_connect(_stream(ticket))
        try:
            await socket.send_json(
                {"type": "config", "language": language, "session_key": ticket["token"]}
            )
            ready = _told(await socket.receive(timeout=_REPLY_TIMEOUT_S))
        except BaseException:  # also where the caller gives up
            await socket.close()
            raise
        return Call(socket, remaining_s=float(ready["remaining_seconds"]))


class Call:
    """A live speech-to-text connection."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, *, remaining_s: float) -> None:
        self._socket = socket
        self.remaining_s = remaining_s

    async def say(self, pcm: bytes) -> None:
        """Send 16 kHz PCM16 in pieces, at twice the pace of speech."""
        for start in range(0, len(pcm), _CHUNK_BYTES):
            await self._socket.send_bytes(pcm[start : start + _CHUNK_BYTES])
            await asyncio.sleep(_CHUNK_BYTES / (2 * HEARING_RATE_HZ) / 2)

    async def finish(self) -> str:
        """Half a second of silence, then everything that was understood."""
        await self.say(bytes(HEARING_RATE_HZ))
        await self._socket.send_json({"type": "flush"})
        texts: list[str] = []
        while True:
            # After the flush, two quiet seconds mean that nothing more is coming.
            try:
                message = await self._socket.receive(timeout=2 if texts else _REPLY_TIMEOUT_S)
            except TimeoutError:
                return " ".join(texts)
            told = _told(message)
            if told["type"] == "transcription" and told["is_final"]:
                texts.append(told["text"])

    async def hang_up(self) -> None:
        await self._socket.close()


def _stream(ticket: dict[str, Any]) -> str:
    return str(ticket["server_url"]).replace("http", "ws", 1) + "/v1/stream"


def _told(message: aiohttp.WSMessage) -> dict[str, Any]:
    if message.type is not aiohttp.WSMsgType.TEXT:
        raise GatewayRefusedError(f"the connection closed: {message.extra or message.data}")
    told: dict[str, Any] = json.loads(message.data)
    if told["type"] == "error":
        raise GatewayRefusedError(str(told.get("message")))
    return told


def _checked(status: int, body: dict[str, Any]) -> dict[str, Any]:
    if status != 200:  # noqa: PLR2004 (OK)
        raise GatewayRefusedError(f"{status}: {body.get('error')}")
    return body
