"""Stopping: a first signal ends the program in good order, a second one ends the waiting."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Coroutine
from typing import Any

from adapters.bootstrap import STARTING_PROBLEMS

# How long a step of the way out may still take once somebody is in a hurry.
HURRIED_S = 0.5
# As a shell says of a program that was interrupted.
HURRIED = 130

log = logging.getLogger(__name__)


def serve_until_stopped(serving: Coroutine[Any, Any, None]) -> int:
    """The exit code: 1 where it could not start, 130 where a second signal cut somebody off."""
    try:
        asyncio.run(serving)
    except STARTING_PROBLEMS as problem:
        print(f"cannot start: {problem}", file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        return HURRIED
    return 0


class Stopping:
    """Listens for SIGTERM and SIGINT for the task that makes it; one a program.

    After the second signal each step that task still waits for is cancelled when it takes too long.
    What must not be cut short (a batch that is being committed) is no waiting of that task.
    """

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self.hurried = False
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._heard)

    async def wait(self) -> None:
        """Until the first signal; one that came before counts."""
        await self._asked.wait()

    def _heard(self) -> None:
        if self._asked.is_set() and not self.hurried:
            self.hurried = True
            log.warning("stopping in a hurry")
            self._hurry()
        self._asked.set()

    def _hurry(self) -> None:
        if self._task is not None and not self._task.done():
            self._task.cancel()
            self._loop.call_later(HURRIED_S, self._hurry)
