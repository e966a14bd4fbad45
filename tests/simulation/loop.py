"""An event loop whose every choice comes from the dice: same seed, same interleaving."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Callable, Coroutine
from typing import Any

from tests.fakes.stepped import InlineExecutor


class StuckError(AssertionError):
    """Somebody waits for an answer that nobody will ever give."""


class SeededLoop(asyncio.BaseEventLoop):
    """Runs one callback at a time, whichever the dice say, in one thread and without a clock.

    Timers fire when nothing else can run. `turns` counts callbacks, so that a turn has a name.
    """

    _ready: Any
    _scheduled: Any
    _stopping: bool

    def __init__(self, dice: random.Random) -> None:
        super().__init__()
        self.turns = 0
        self.broken: list[BaseException] = []
        self._dice = dice
        self._now_s = 0.0
        self._budget: int | None = None
        self._main: asyncio.Task[Any] | None = None
        self.set_default_executor(InlineExecutor(1))
        self.set_exception_handler(self._note)

    def live(self, coroutine: Coroutine[Any, Any, object], *, turns: int | None = None) -> bool:
        """Run until it is done, or for so many turns; whether it is done."""
        task = self._main = self.create_task(coroutine)
        self._budget = turns
        self.run_forever()
        self._main = self._budget = None
        if self.broken:
            raise self.broken.pop()
        if task.done():
            task.result()
        return task.done()

    def bury(self) -> None:
        """Everything under way is gone, as with its process."""
        # By their numbers: a set of tasks has another order in each run.
        waiting = sorted(asyncio.all_tasks(self), key=_number)
        for task in waiting:
            task.cancel()
        if waiting:
            self.live(_ended(waiting))

    def time(self) -> float:
        return self._now_s

    def call_soon_threadsafe(  # type: ignore[override]  # as asyncio itself has it at run time
        self,
        callback: Callable[..., object],
        *args: Any,  # noqa: ANN401 (asyncio's signature)
        context: Any = None,  # noqa: ANN401 (asyncio's signature)
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def _run_once(self) -> None:
        if not self._ready:
            self._fire_timer()
            return
        chosen = self._dice.randrange(len(self._ready))
        handle = self._ready[chosen]
        del self._ready[chosen]
        if not handle.cancelled():
            self.turns += 1
            handle._run()
        self._count()

    def _count(self) -> None:
        if self._budget is not None:
            self._budget -= 1
        if self._budget == 0 or (self._main is not None and self._main.done()):
            self.stop()

    def _fire_timer(self) -> None:
        while self._scheduled:
            timer = heapq.heappop(self._scheduled)
            if not timer.cancelled():
                self._now_s = max(self._now_s, timer.when())
                self._ready.append(timer)
                return
        raise StuckError("nothing can run, and somebody still waits")

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Left in the heap until its time comes."""

    def _write_to_self(self) -> None:
        """Nobody sleeps here."""

    def _note(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        failure = context.get("exception")
        if isinstance(failure, BaseException) and "never retrieved" not in context["message"]:
            self.broken.append(failure)
            self.stop()


def _number(task: asyncio.Task[Any]) -> int:
    return int(task.get_name().rpartition("-")[2])


async def _ended(tasks: list[asyncio.Task[Any]]) -> None:
    for failure in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(failure, AssertionError):
            raise failure
