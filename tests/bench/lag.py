"""How long the event loop is held up while a gateway speaks and listens at once."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

import numpy as np
import soxr

from adapters.bootstrap import site
from adapters.cli.customer import Customer
from adapters.config import Settings
from tests.bench.report import Row, percentile_ms

TICK_MS = 2
TALKERS = 2
TEXT = (
    "The parcel left our warehouse this morning, and it should arrive before five o'clock "
    "tomorrow afternoon."
)


async def _measure(folder: Path) -> list[float]:
    environ = {
        "PAYPHONE_SANDBOX": "1",
        "PAYPHONE_DATA": str(folder),
        "PAYPHONE_PORT": "0",
        "PAYPHONE_API_RATE_MAX": "1000",
    }
    late_ms: list[float] = []
    async with site(Settings.from_environ(environ)) as place:
        assert place.sandbox is not None
        async with Customer(place.url, place.sandbox.evm.secret_key) as customer:
            await customer.buy("1.00")
            ticking = asyncio.create_task(_tick(late_ms))
            await asyncio.gather(*(_talk(customer) for _ in range(TALKERS)))
            ticking.cancel()
    return late_ms


async def _tick(late_ms: list[float]) -> None:
    while True:
        due = time.perf_counter() + TICK_MS / 1_000
        await asyncio.sleep(TICK_MS / 1_000)
        late_ms.append((time.perf_counter() - due) * 1_000)


async def _talk(customer: Customer) -> None:
    """One caller: spoken to, then heard, while the others do the same."""
    tts = await customer.call("POST", "/v1/tts/session", {"max_characters": 1_000})
    stt = await customer.call("POST", "/v1/stt/session", {"duration_minutes": 2})
    spoken = await customer.speak(tts, TEXT, voice="af_heart")
    samples = np.frombuffer(spoken.pcm, np.int16)
    pcm = await asyncio.to_thread(
        lambda: soxr.resample(samples, 48_000, 16_000).astype(np.int16).tobytes()
    )
    call = await customer.listen(stt, language="en")
    await call.say(pcm)
    await call.finish()
    await call.hang_up()


def rows() -> list[Row]:
    """Lag of a 2 ms tick, with client and server in one process."""
    with tempfile.TemporaryDirectory() as folder:
        late_ms = asyncio.run(_measure(Path(folder)))
    return [
        Row(
            name=f"event-loop lag, {TALKERS} callers speaking and listening",
            ours=f"p50 {percentile_ms(late_ms, 50)}  p99 {percentile_ms(late_ms, 99)}"
            f"  max {percentile_ms(late_ms, 100)}",
            peer="5 ms",
            peer_name="our bound",
            ratio=None,
        )
    ]
