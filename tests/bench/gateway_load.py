"""The client side of `tests.bench.gateway`, in a process of its own.

    python -m tests.bench.gateway_load < PLAN

Reads a plan (JSON) and prints what it measured. It knows just enough HTTP to keep lines busy with
requests made beforehand: whoever is measured should be the server.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import aiohttp

from tests.bench.gateway_calls import keyed_calls, signed_calls, webhooks

WARM_S = 0.5
_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"Content-Length: "


class Load:
    """Sends calls over some lines and counts the answers; those of the warm-up are not counted."""

    def __init__(self, calls: Iterator[bytes], *, lines: int, server_pid: int) -> None:
        self._calls = calls
        self._count = lines
        self._pid = server_pid
        self._idle: deque[_Line] = deque()
        self._waiting: deque[float] = deque()
        self._latencies_ms: list[float] = []
        self._statuses: Counter[str] = Counter()
        self._begin = 0.0
        self._end = float("inf")
        self._open = 0
        self._is_closed_loop = False
        self._done = asyncio.Event()

    async def connect(self, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(self._count):
            _, line = await loop.create_connection(lambda: _Line(self), host, port)
            self._idle.append(line)

    async def closed_loop(self, *, warm_s: float, seconds: float) -> dict[str, Any]:
        """Each line asks as soon as it is answered, until the time or the calls are over."""
        self._is_closed_loop = True
        gc.collect()
        self._begin = time.perf_counter() + warm_s
        self._end = self._begin + seconds
        while self._idle and self._send(time.perf_counter()):
            pass
        await asyncio.sleep(warm_s)
        cpu = self._cpu_s()
        await self._done.wait()
        return self._told(cpu)

    async def open_loop(self, *, per_second: float, seconds: float) -> dict[str, Any]:
        """Calls come by chance, whether or not the ones before were answered."""
        dice = random.Random(1)  # noqa: S311 (arrivals, not secrets)
        gc.collect()
        cpu = self._cpu_s()
        due = time.perf_counter()
        for _ in range(int(per_second * seconds)):
            due += dice.expovariate(per_second)
            await asyncio.sleep(max(0, due - time.perf_counter()))
            self._send(time.perf_counter())
        self._end = 0.0
        if self._open:
            await self._done.wait()
        return self._told(cpu)

    def answered(self, line: _Line, status: str) -> None:
        now = time.perf_counter()
        self._open -= 1
        self._statuses[status] += 1
        if line.began >= self._begin:
            self._latencies_ms.append((now - line.began) * 1_000)
        self._idle.append(line)
        if self._waiting:
            self._send(self._waiting.popleft())
        elif self._is_closed_loop and now < self._end and self._send(now):
            return
        if self._open == 0 and (now >= self._end or self._is_closed_loop):
            self._done.set()

    def _send(self, began: float) -> bool:
        """Whether there was another call; without a free line it waits for one."""
        if not self._idle:
            self._waiting.append(began)
            return True
        call = next(self._calls, None)
        if call is None:
            return False
        self._open += 1
        self._idle.popleft().send(call, began)
        return True

    def _cpu_s(self) -> tuple[float, float, float]:
        return time.perf_counter(), process_cpu_s(self._pid), time.process_time()

    def _told(self, before: tuple[float, float, float]) -> dict[str, Any]:
        took_s, server_s, client_s = (
            after - was for after, was in zip(self._cpu_s(), before, strict=True)
        )
        done = len(self._latencies_ms)
        return {
            "per_second": done / took_s,
            "latencies_ms": [round(latency, 3) for latency in self._latencies_ms],
            "seconds": took_s,
            "server_us": server_s / done * 1e6,
            "client_us": client_s / done * 1e6,
            "statuses": self._statuses,
        }


class _Line(asyncio.Protocol):
    """One connection with at most one request on it."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._came = b""
        self._transport: asyncio.WriteTransport
        self.began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def send(self, call: bytes, began: float) -> None:
        self.began = began
        self._transport.write(call)

    def data_received(self, data: bytes) -> None:
        came = self._came = self._came + data
        head_ends = came.find(_END_OF_HEAD)
        if head_ends < 0:
            return
        length_at = came.index(_LENGTH) + len(_LENGTH)
        length = int(came[length_at : came.index(b"\r\n", length_at)])
        body = came[head_ends + len(_END_OF_HEAD) :]
        if len(body) < length:
            return
        self._came = b""
        status = came[9:12].decode()
        # What a webhook is told says whether it was new.
        kind = json.loads(body)["status"] if body.startswith(b'{"status"') else ""
        self._load.answered(self, f"{status} {kind}".strip())


def process_cpu_s(pid: int) -> float:
    """Seconds of CPU a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def http_load(plan: dict[str, Any]) -> dict[str, Any]:
    once = "webhooks" in plan
    if once:
        calls = webhooks(plan["webhooks"], plan["count"])
    elif "tokens" in plan:
        calls = keyed_calls(plan["operation"], plan["tokens"])
    else:
        calls = signed_calls(plan["operation"])
    load = Load(
        iter(calls) if once else cycle(calls), lines=plan["lines"], server_pid=plan["server_pid"]
    )
    await load.connect("127.0.0.1", plan["port"])
    if "per_second" in plan:
        return await load.open_loop(per_second=plan["per_second"], seconds=plan["seconds"])
    return await load.closed_loop(warm_s=0 if once else WARM_S, seconds=plan["seconds"])


async def sockets(plan: dict[str, Any]) -> dict[str, Any]:
    """Connect, configure, say so; then be silent until a line comes, and hang up."""
    url = f"http://127.0.0.1:{plan['port']}/v1/stream"
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http:
        first_words = []
        held = []
        for opening in plan["openings"]:
            socket = await http.ws_connect(url)
            await socket.send_json(opening)
            first_words.append(json.loads(str((await socket.receive()).data)).get("type"))
            held.append(socket)
        reading = [asyncio.create_task(_be_silent(socket)) for socket in held]
        print(json.dumps({"ready": first_words.count("ready")}), flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        alive = sum(not socket.closed for socket in held)
        await asyncio.gather(*(socket.close() for socket in held))
        await asyncio.gather(*reading)
    return {"alive": alive}


async def _be_silent(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Answer pings, which the library does while somebody reads."""
    async for _ in socket:
        pass


def main(lines: Sequence[str]) -> None:
    plan = json.loads(lines[0])
    told = asyncio.run((sockets if "openings" in plan else http_load)(plan))
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main([sys.stdin.readline()])
