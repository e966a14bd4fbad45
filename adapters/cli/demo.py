"""`payphone demo`: coins in, talk, coins back, and a bill that proves itself, with real parts."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
import wave
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import jiwer
import numpy as np
import soxr
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from adapters.bootstrap import Site, site
from adapters.cli.customer import Customer, Spoken
from adapters.cli.models import ensure_models
from adapters.config import Settings
from adapters.keys import check_signature
from adapters.sandbox.wallets import fresh_evm_wallet
from domain.audit import AuditError, parse_bill, verify_bill
from domain.checkpoint import SignerKey
from domain.money import Microcredits

SENTENCE = "Put a coin in the slot, say what you need, and take your change when you leave."
VOICE = "af_heart"
PRICE_USD = "0.10"
PAUSE_MS = 1_500
T = TypeVar("T")


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("demo", help="the whole story with real parts, in a minute")
    parser.add_argument("--wav", type=Path, default=Path("speech.wav"), help="where speech is kept")
    parser.add_argument("--text", default=SENTENCE, help="what to say")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Tell the story; 0 when it ends in VERIFIED."""
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="payphone-demo-") as folder:
        settings = Settings.from_environ(
            dict(os.environ)
            | {"PAYPHONE_SANDBOX": "1", "PAYPHONE_DATA": folder, "PAYPHONE_PORT": "0"}
        )
        ensure_models(settings, console)
        return asyncio.run(_Story(console, options).tell(settings))


@dataclass(slots=True)
class _Story:
    console: Console
    options: argparse.Namespace
    begun: float = field(default_factory=time.monotonic)

    async def tell(self, settings: Settings) -> int:
        self.console.print(
            "[bold]Payphone demo[/bold]  SANDBOX: real code, throwaway money, nothing leaves "
            "this machine\n"
        )
        async with self._started(settings) as place:
            wallet = fresh_evm_wallet()
            async with Customer(place.url, wallet.secret_key) as customer:
                await self._pay(place, customer)
                tickets = await self._open(customer)
                spoken = await self._speak(customer, tickets["tts"])
                heard = await self._listen(customer, tickets["stt"], spoken)
                if not heard:
                    return 1
                await self._pause(customer, tickets["stt"])
                await self._end(customer, tickets["bundle_id"])
                return await self._verify(place, customer, tickets)

    @asynccontextmanager
    async def _started(self, settings: Settings) -> AsyncIterator[Site]:
        started = time.monotonic()
        context = site(settings)
        place = await self._wait(
            1, "starting the chain, the gateway and the engines", context.__aenter__
        )
        try:
            self._say(1, started, f"sandbox chain and gateway are up at {place.url}")
            yield place
        finally:
            await context.__aexit__(None, None, None)

    async def _pay(self, place: Site, customer: Customer) -> None:
        assert place.sandbox is not None, "the demo runs in the sandbox"  # noqa: S101 (set by run)
        base = place.sandbox.network("base")
        await base.fund(customer.address, 1_000_000)
        started = time.monotonic()
        before = await base.balance(customer.address), await base.balance(base.pay_to)
        bought = await self._wait(2, "paying by x402", lambda: customer.buy(PRICE_USD))
        after = await base.balance(customer.address), await base.balance(base.pay_to)
        self._say(
            2,
            started,
            f"wallet {customer.address} bought ${PRICE_USD}: "
            f"{_money(int(bought['credited_microcredits']))} credited",
        )
        self._note(
            f"on chain: wallet {_usdc(before[0])} -> {_usdc(after[0])}, "
            f"gateway {_usdc(before[1])} -> {_usdc(after[1])}"
        )

    async def _open(self, customer: Customer) -> dict[str, Any]:
        started = time.monotonic()
        tickets = await customer.call(
            "POST",
            "/v1/agent-session",
            {
                "room_name": "demo",
                "participant_identity": "agent",
                "duration_minutes": 5,
                "tts_max_characters": 1_000,
                "language": "en",
            },
        )
        account = await customer.call("GET", "/v1/account")
        available, whole = int(account["available_balance"]), int(account["credit_balance"])
        self._say(3, started, "agent session open: a room token, 5 min of STT, 1,000 characters")
        self._note(f"reserved {_money(whole - available)}, available {_money(available)}")
        return tickets

    async def _speak(self, customer: Customer, ticket: dict[str, Any]) -> Spoken:
        started = time.monotonic()
        text = self.options.text
        spoken = await self._wait(
            4, "speaking with Kokoro", lambda: customer.speak(ticket, text, voice=VOICE)
        )
        with wave.open(str(self.options.wav), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(48_000)
            file.writeframes(spoken.pcm)
        self._say(4, started, f"Kokoro said: “{text}”")
        self._note(
            f"first audio after {spoken.first_audio_ms} ms, {len(spoken.pcm) / 96_000:.1f} s of "
            f"speech at real time -> {self.options.wav}"
        )
        return spoken

    async def _listen(self, customer: Customer, ticket: dict[str, Any], spoken: Spoken) -> str:
        started = time.monotonic()
        pcm = _hearing_rate(spoken.pcm)
        call = await customer.listen(ticket, language="en")

        async def talk() -> str:
            await call.say(pcm)
            return await call.finish()

        text = await self._wait(5, "listening with Whisper", talk)
        await call.hang_up()
        errors = _word_error_rate(self.options.text, text)
        self._say(5, started, f"Whisper heard: “{text}”")
        self._note(f"word error rate {errors:.0%} (VAD, denoise, Whisper base, all local)")
        return text

    async def _pause(self, customer: Customer, ticket: dict[str, Any]) -> None:
        started = time.monotonic()
        first = await customer.listen(ticket, language="en")
        left_s = first.remaining_s
        await first.hang_up()
        await asyncio.sleep(PAUSE_MS / 1_000)
        second = await customer.listen(ticket, language="en")
        ran_ms = round((left_s - second.remaining_s) * 1_000)
        await second.hang_up()
        self._say(6, started, "dropped the line, waited, came back with the same key")
        self._note(f"{PAUSE_MS} ms passed, the clock ran {ran_ms} ms: silence is free")

    async def _end(self, customer: Customer, bundle_id: str) -> None:
        started = time.monotonic()
        ended = await customer.call("POST", f"/v1/agent-session/{bundle_id}/end")
        self._say(7, started, "session ended: charged + refunded = reserved")
        table = Table(box=None, padding=(0, 2, 0, 3))
        for column in ("", "used", "reserved µcr", "charged µcr", "refunded µcr", "charged USD"):
            table.add_column(column, justify="right" if column else "left")
        for row in ended["sessions"]:
            reserved, charged, refunded = (
                int(row[f"{kind}_microcredits"]) for kind in ("reserved", "charged", "refunded")
            )
            unit = "chars" if row["service"] == "tts" else "ms"
            table.add_row(
                row["service"],
                f"{row['used']} {unit}",
                str(reserved),
                str(charged),
                str(refunded),
                Microcredits(charged).usd,
            )
            if charged + refunded != reserved:
                raise AssertionError(f"{charged} + {refunded} != {reserved}")
        self.console.print(table)
        account = await customer.call("GET", "/v1/account")
        self._note(f"available again: {_money(int(account['available_balance']))}")

    async def _verify(self, place: Site, customer: Customer, tickets: dict[str, Any]) -> int:
        started = time.monotonic()
        bill = await customer.call("GET", f"/v1/sessions/{tickets['stt']['session_id']}/bill")
        file = json.dumps(bill).encode()
        trusted = SignerKey.parse(place.log_key)
        try:
            verdict = verify_bill(parse_bill(file), check=check_signature, trusted=trusted)
        except AuditError as broken:
            self._say(8, started, f"[red]NOT VERIFIED[/red] {broken}")
            return 1
        self._say(
            8,
            started,
            f"bill checked offline: {verdict.events} events proven in the signed log of "
            f"{verdict.checkpoint.size}",
        )
        self._note(_tampered(file, trusted))
        seconds = time.monotonic() - self.begun
        self.console.print(
            f"\n[bold green]VERIFIED[/bold green]  the whole story took {seconds:.1f} s"
        )
        return 0

    async def _wait(self, step: int, doing: str, work: Callable[[], Awaitable[T]]) -> T:
        with Progress(
            TextColumn(f"{step}  {doing}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
        ) as bar:
            bar.add_task("", total=None)
            return await work()

    def _say(self, step: int, started: float, text: str) -> None:
        seconds = time.monotonic() - started
        self.console.print(
            f"[bold]{step}[/bold]  {text}  [dim]{seconds:.2f} s[/dim]", soft_wrap=True
        )

    def _note(self, text: str) -> None:
        self.console.print(f"   [dim]{text}[/dim]", soft_wrap=True)


def _tampered(file: bytes, trusted: SignerKey) -> str:
    """Flip one digit of a copy, and say what the verifier says of it."""
    at = file.index(b'"charged_microcredits": ') + len(b'"charged_microcredits": ')
    digit = b"1" if file[at : at + 1] != b"1" else b"2"
    copy = file[:at] + digit + file[at + 1 :]
    try:
        verify_bill(parse_bill(copy), check=check_signature, trusted=trusted)
    except AuditError as broken:
        return f"one byte changed at {at} in a copy: NOT VERIFIED {broken}"
    raise AssertionError("a changed bill must not verify")


def _hearing_rate(pcm: bytes) -> bytes:
    samples = np.frombuffer(pcm, dtype=np.int16)
    return bytes(soxr.resample(samples, 48_000, 16_000).astype(np.int16).tobytes())


def _word_error_rate(said: str, heard: str) -> float:
    plain = jiwer.Compose(
        [
            jiwer.ToLowerCase(),
            jiwer.RemovePunctuation(),  # type: ignore[no-untyped-call]  # the library's gap
            jiwer.RemoveMultipleSpaces(),
            jiwer.Strip(),
            jiwer.ReduceToListOfListOfWords(),
        ]
    )
    return float(
        jiwer.wer(said, heard or " ", reference_transform=plain, hypothesis_transform=plain)
    )


def _money(amount: int) -> str:
    return f"{amount} µcr (${Microcredits(amount).usd})"


def _usdc(units: int) -> str:
    return f"{Microcredits(units).usd} USDC"
