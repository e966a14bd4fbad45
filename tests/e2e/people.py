"""Who joins rooms in these tests: LiveKit's own client where sound can flow, else a quiet one."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Any, Protocol

from tests.fakes.sfu_caller import QuietCaller, RefusedError

CALLER = Path(__file__).with_name("caller.py")
WAIT_S = 30


class Person(Protocol):
    """`joined` and `gone` wait for what the room server says; a crash says nothing to anybody."""

    async def joined(self) -> dict[str, Any]: ...

    async def gone(self) -> str: ...

    async def leave(self) -> None: ...

    async def crash(self) -> None: ...


class Talker:
    """A process with LiveKit's client, speaking a tone."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._said: list[dict[str, Any]] = []

    @classmethod
    async def call(cls, url: str, token: str, tone_hz: int) -> Talker:
        command = (sys.executable, str(CALLER), url, token, str(tone_hz))
        return cls(
            await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL)
        )

    async def joined(self) -> dict[str, Any]:
        return await self.said("joined")

    async def heard(self) -> tuple[str, int]:
        """Whom it hears, and at what pitch."""
        found = await self.said("heard")
        return found["who"], found["tone_hz"]

    async def gone(self) -> str:
        return str((await self.said("gone"))["reason"])

    async def refused(self) -> str:
        return str((await self.said("refused"))["why"])

    async def said(self, event: str) -> dict[str, Any]:
        for said in self._said:
            if said["event"] == event:
                return said
        assert self._process.stdout is not None
        async with asyncio.timeout(WAIT_S):
            while line := await self._process.stdout.readline():
                said = json.loads(line)
                self._said.append(said)
                if said["event"] == event:
                    return said
        raise AssertionError(f"never said {event}, but {self._said}")

    async def tell(self, text: str) -> None:
        await self._order(f"tell {text}")

    async def leave(self) -> None:
        await self._order("leave")
        await self.said("left")
        await self._process.wait()

    async def crash(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def _order(self, words: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{words}\n".encode())
        await self._process.stdin.drain()


class QuietPerson:
    """The same without sound."""

    def __init__(self, caller: QuietCaller) -> None:
        self._caller = caller

    async def joined(self) -> dict[str, Any]:
        join = await self._caller.joined()
        return {
            "identity": join.participant.identity,
            "sid": join.participant.sid,
            "room": join.room.name,
            "metadata": join.participant.metadata,
        }

    async def gone(self) -> str:
        return await self._caller.gone()

    async def leave(self) -> None:
        await self._caller.leave()

    async def crash(self) -> None:
        await self._caller.crash()


class People:
    """Lets people in. `quiet` is why there is no sound, "" where there is."""

    def __init__(self, quiet: str) -> None:
        self.quiet = quiet
        self._let_in: list[Person] = []

    async def call(self, url: str, token: str, *, tone_hz: int = 440) -> Person:
        person: Person
        if self.quiet:
            person = QuietPerson(await QuietCaller.call(url, token))
        else:
            person = await Talker.call(url, token, tone_hz)
        self._let_in.append(person)
        return person

    async def is_refused(self, url: str, token: str) -> bool:
        """Whether the room server turns this token away."""
        if not self.quiet:
            talker = await Talker.call(url, token, 440)
            self._let_in.append(talker)
            return bool(await talker.refused())
        try:
            person = await QuietCaller.call(url, token)
        except RefusedError:
            return True
        await person.crash()
        return False

    async def hang_up(self) -> None:
        for person in self._let_in:
            await person.crash()
