"""What the load of `tests.bench.gateway` is made of: wallets, and whole requests as bytes.

Made before the clock runs, so that signing is not what is measured.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from functools import cache

from eth_account import Account
from eth_account.messages import encode_defunct

from adapters.sfu.room_key import room_key
from tests.fakes.room_server import API_KEY, node_token

WALLETS = 500
GET_ACCOUNT = "GET /v1/account"
OPEN_STT = "POST /v1/stt/session"
# Throwaway keys: the numbers from 1.
_FIRST_KEY = 1
_BODIES = {OPEN_STT: b'{"duration_minutes":1,"language":"en"}'}


@cache
def wallets() -> tuple[str, ...]:
    """The addresses of all wallets, as they are written in a header."""
    return tuple(str(Account.from_key(_key(index)).address) for index in range(WALLETS))


def signed_calls(operation: str) -> list[bytes]:
    """One request of each wallet, signed now: good for 30 s."""
    now = str(int(time.time()))
    method, path = operation.split()
    text = encode_defunct(text=f"{method}\n{path}\n{now}")
    calls = []
    for index, address in enumerate(wallets()):
        signature = Account.sign_message(text, _key(index)).signature.hex().removeprefix("0x")
        headers = {
            "Authorization": f"evm:0x{signature}",
            "X-Wallet-Address": address,
            "X-Wallet-Chain": "evm",
            "X-Timestamp": now,
        }
        calls.append(request(operation, headers, _BODIES.get(operation, b"")))
    return calls


def keyed_calls(operation: str, tokens: Sequence[str]) -> list[bytes]:
    """One request with each API key."""
    body = _BODIES.get(operation, b"")
    return [request(operation, {"Authorization": f"Bearer {token}"}, body) for token in tokens]


def webhooks(rooms: Sequence[Mapping[str, str]], count: int) -> list[bytes]:
    """As many arrivals in rooms, each another one's, signed by the node."""
    now_ms = int(time.time() * 1_000)
    posts = []
    for number in range(count):
        room = rooms[number % len(rooms)]
        event = {
            "event": "participant_joined",
            "room": {
                "sid": f"RM_{number % len(rooms)}",
                "name": room["room"],
                "key": room_key(room["room"], API_KEY),
            },
            "participant": {
                "sid": f"PA_{number}",
                "identity": room["identity"],
                "state": "ACTIVE",
                "joinedAt": str(now_ms // 1_000),
            },
            "id": f"EV_{number}",
            "createdAt": str(now_ms // 1_000),
        }
        body = json.dumps(event, separators=(",", ":")).encode()
        token = node_token(body, now_ms=now_ms)
        posts.append(request(f"POST {room['address']}", {"Authorization": token}, body))
    return posts


def request(operation: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """The request as it goes over the wire."""
    lines = [f"{operation} HTTP/1.1", "Host: gateway.test"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _key(index: int) -> bytes:
    return (_FIRST_KEY + index).to_bytes(32)
