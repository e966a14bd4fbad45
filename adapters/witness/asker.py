"""Asks witnesses to cosign our heads, in the background: none of them can hold anything up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import aiohttp

from adapters.witness.request import PATH, SIZE_TYPE, AddCheckpoint, is_size
from domain.checkpoint import CheckpointError, CheckSignature, NoteSignature, parse_signatures
from domain.cosignature import WitnessKey, cosignatures, with_signatures
from domain.ports.log import ConsistencyProof

PAUSE_MS = 1_000
RETRY_MS = 60_000
TIMEOUT_MS = 10_000
_ANSWER_BYTES_MAX = 1 << 16
# It answers 409 with the size it has; then it is asked once more from there.
_ATTEMPTS = 2

log = logging.getLogger(__name__)


class SignedLog(Protocol):
    """The log whose heads are to be cosigned."""

    def checkpoint(self) -> tuple[int, str]:
        """The newest head: its size and note."""
        ...

    async def consistency(self, *, first: int, second: int) -> ConsistencyProof: ...

    def cosign(self, size: int, signatures: Sequence[NoteSignature]) -> None:
        """Keep these signatures with the head."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessAddress:
    """Where a witness is asked (no slash at the end), and what it signs with."""

    url: str
    key: WitnessKey


class NotCosignedError(Exception):
    """A witness gave no good signature; the text says why."""


class ForkedError(NotCosignedError):
    """A witness saw another history under our name. Somebody must look."""


class WitnessAsker:
    """Takes the newest head to every witness, at most once a second.

    One that is down or slow costs its own line and nothing else: the others' are kept, and it is
    asked again with the next head, or after a minute. Keeps no size of its own between starts: a
    witness says where it is.
    """

    def __init__(
        self,
        log_: SignedLog,
        witnesses: Sequence[WitnessAddress],
        *,
        check: CheckSignature,
        pause_ms: int = PAUSE_MS,
        retry_ms: int = RETRY_MS,
    ) -> None:
        self._log = log_
        self._witnesses = tuple(witnesses)
        self._check = check
        self._pause_ms = pause_ms
        self._retry_ms = retry_ms
        self._sizes = dict.fromkeys(self._witnesses, 0)
        self._down: set[WitnessAddress] = set()
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def head_signed(self) -> None:
        """There is a new head; from any thread, at once."""
        # A loop that was closed meanwhile asks nobody.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._wake.set)

    async def run(self) -> None:
        """Ask until cancelled; also for the head that is there when it begins."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_MS / 1_000)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                self._wake.clear()
                try:
                    await self._round(session)
                except Exception:
                    # The store or the log; the witnesses' own failures do not come this far.
                    log.exception("asking witnesses failed")
                await asyncio.sleep(self._pause_ms / 1_000)
                await self._until_woken()

    async def _until_woken(self) -> None:
        """Wait for the next head; while a witness is down, no longer than the retry."""
        wait_s = self._retry_ms / 1_000 if self._down else None
        try:
            await asyncio.wait_for(self._wake.wait(), wait_s)
        except TimeoutError:
            return

    async def _round(self, session: aiohttp.ClientSession) -> None:
        size, note = await asyncio.to_thread(self._log.checkpoint)
        answers = await asyncio.gather(
            *(self._asked(session, witness, size, note) for witness in self._witnesses)
        )
        signatures = [line for line in answers if line is not None]
        if signatures:
            await asyncio.to_thread(self._log.cosign, size, signatures)

    async def _asked(
        self, session: aiohttp.ClientSession, witness: WitnessAddress, size: int, note: str
    ) -> NoteSignature | None:
        """Its signature, or None; said once when it goes away and once when it is back."""
        try:
            line = await self._ask(session, witness, size, note)
        except (NotCosignedError, aiohttp.ClientError, TimeoutError, OSError) as failure:
            if witness not in self._down:
                level = logging.ERROR if isinstance(failure, ForkedError) else logging.WARNING
                fields = {"witness": witness.key.name, "failure": str(failure)[:200]}
                log.log(level, "a witness does not cosign", extra=fields)
            self._down.add(witness)
            return None
        if witness in self._down:
            log.info("a witness cosigns again", extra={"witness": witness.key.name})
            self._down.discard(witness)
        return line

    async def _ask(
        self, session: aiohttp.ClientSession, witness: WitnessAddress, size: int, note: str
    ) -> NoteSignature:
        for _ in range(_ATTEMPTS):
            old = min(self._sizes[witness], size)
            proof: tuple[bytes, ...] = ()
            if 0 < old < size:
                proof = (await self._log.consistency(first=old, second=size)).hashes
            request = AddCheckpoint(old=old, proof=proof, note=note)
            status, kind, text = await _post(session, witness.url + PATH, request.text)
            if status == 200:  # noqa: PLR2004 (OK)
                line = self._line(witness, note, text)
                self._sizes[witness] = size
                return line
            seen = text.strip()
            if status == 422:  # noqa: PLR2004 (inconsistent)
                raise ForkedError(f"its last head is not the beginning of this log: {text[:100]}")
            if status != 409 or kind != SIZE_TYPE or not is_size(seen):  # noqa: PLR2004 (conflict)
                raise NotCosignedError(f"it answered {status}: {text[:100].strip()}")
            self._check_seen(int(seen), size=size, told=old)
            self._sizes[witness] = int(seen)
        raise NotCosignedError("others ask it about this log at the same time")

    @staticmethod
    def _check_seen(seen: int, *, size: int, told: int) -> None:
        if seen > size:
            # Another process of ours was faster, or this log lost its end.
            raise NotCosignedError(f"it has seen {seen} events of this log, which has {size} here")
        if seen == told:
            raise ForkedError(f"it has seen another history of {seen} events under this name")

    def _line(self, witness: WitnessAddress, note: str, text: str) -> NoteSignature:
        """The good signature of this witness in its answer; others in it count for nothing."""
        try:
            own = [
                line
                for line in parse_signatures(text)
                if (line.name, line.hint) == (witness.key.name, witness.key.hint)
            ]
            cosignatures(with_signatures(note, own), witnesses=[witness.key], check=self._check)
        except CheckpointError as broken:
            raise NotCosignedError(str(broken)) from broken
        return own[0]


async def _post(session: aiohttp.ClientSession, url: str, text: str) -> tuple[int, str, str]:
    async with session.post(url, data=text.encode(), allow_redirects=False) as answer:
        data = bytearray()
        async for chunk in answer.content.iter_chunked(1 << 12):
            data += chunk
            if len(data) > _ANSWER_BYTES_MAX:
                raise NotCosignedError(f"its answer is over {_ANSWER_BYTES_MAX} bytes")
        return answer.status, answer.content_type, data.decode("utf-8", "replace")
