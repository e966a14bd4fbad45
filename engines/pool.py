"""The one compute budget that speaking and hearing share.

A few worker threads, many lanes. A lane is one stream or one utterance; it has at most one piece
of work in the pool, so the queue before the workers is fair by construction: a lane that has just
been served stands behind everyone else. Between pieces that wait, the more urgent goes first.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Mapping
from enum import IntEnum
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from domain.errors import NoCapacityError

T = TypeVar("T")


class Urgency(IntEnum):
    """Who is served first: what a listener waits for in silence, before what plays later."""

    FIRST_SOUND = 0
    FINAL_TEXT = 1
    LATER_SOUND = 2
    GUESS = 3


def _nothing() -> None:
    """Do nothing: most work cannot be stopped half way."""


class _Job(Generic[T]):
    """Work on its way through a worker; the loop hears of it exactly once."""

    def __init__(self, work: Callable[[], T], urgency: Urgency, stop: Callable[[], None]) -> None:
        self.work = work
        self.urgency = urgency
        self.stop = stop
        self.loop = asyncio.get_running_loop()
        self.done: asyncio.Future[T] = self.loop.create_future()
        self.is_over = False
        self._then: Callable[[], None] = _nothing

    def when_over(self, then: Callable[[], None]) -> None:
        """Call `then` on the loop once no worker holds this job any more."""
        if self.is_over:
            then()
        else:
            self._then = then

    def end(self) -> None:
        """Note that no worker holds this job, or ever will."""
        self.is_over = True
        self._then()

    def fail(self, error: BaseException) -> None:
        """Report `error` to whoever asked; from any thread."""
        self._report(self._fail, error)

    def run(self) -> None:
        try:
            result = self.work()
        except BaseException as error:  # noqa: BLE001 (carried to whoever asked, not swallowed)
            self.fail(error)
        else:
            self._report(self._succeed, result)

    def _report(self, tell: Callable[[Any], None], outcome: object) -> None:
        try:
            self.loop.call_soon_threadsafe(tell, outcome)
        except RuntimeError:
            return  # The loop has closed: nobody is left to hear it.

    def _succeed(self, result: T) -> None:
        self.end()
        if not self.done.done():
            self.done.set_result(result)

    def _fail(self, error: BaseException) -> None:
        self.end()
        if not self.done.done():
            self.done.set_exception(error)


class WorkerPool:
    """Bounded worker threads.

    Shape:  `lane` admits a stream or an utterance; `Lane.run` does one piece of work in a thread.
    Units:  `threads` is how many pieces run at once, over all services; `limits` is how many
            lanes each service may have open.
    Errors: `NoCapacityError` from `lane` when the service is full or the pool is closed.
    Source: specs/engines.md, E27-E30.
    """

    def __init__(self, *, threads: int, limits: Mapping[str, int]) -> None:
        self.threads = threads
        self._limits = dict(limits)
        self._open: dict[str, int] = dict.fromkeys(limits, 0)
        self._waiting: tuple[deque[_Job[Any]], ...] = tuple(deque() for _ in Urgency)
        self._changed = threading.Condition()
        self._closed = False
        self._busy = dict.fromkeys(Urgency, 0)
        self._workers = [
            threading.Thread(target=self._serve, name=f"engine-{index}", daemon=True)
            for index in range(threads)
        ]
        for worker in self._workers:
            worker.start()

    @property
    def idle(self) -> bool:
        """Whether a worker is free and nothing waits: the moment to do guesswork."""
        with self._changed:
            return sum(self._busy.values()) < self.threads and not any(self._waiting)

    def free(self, service: str) -> int:
        """How many more lanes this service may open."""
        return self._limits.get(service, 0) - self._open.get(service, 0)

    def open(self, service: str) -> int:
        """How many lanes this service has open."""
        return self._open.get(service, 0)

    def lane(self, service: str) -> Lane:
        """Admit one more stream or utterance of `service`, or refuse."""
        if self._closed or self.free(service) <= 0:
            raise NoCapacityError(service)
        self._open[service] += 1
        return Lane(self, service)

    def leave(self, service: str) -> None:
        """Give a lane's place back; `Lane.close` calls it once."""
        self._open[service] -= 1

    def submit(self, job: _Job[Any]) -> None:
        """Queue a job."""
        with self._changed:
            if self._closed:
                raise NoCapacityError("engine")
            self._waiting[job.urgency].append(job)
            self._changed.notify()

    def withdraw(self, job: _Job[Any]) -> bool:
        """Take a job out of the queue; False when a worker has it already."""
        with self._changed:
            try:
                self._waiting[job.urgency].remove(job)
            except ValueError:
                return False
            return True

    def close(self) -> None:
        """Drop what waits, let running work end, join the threads. Blocking; safe to repeat."""
        with self._changed:
            self._closed = True
            dropped = [job for queue in self._waiting for job in queue]
            for queue in self._waiting:
                queue.clear()
            self._changed.notify_all()
        for job in dropped:
            job.fail(NoCapacityError("engine"))
        for worker in self._workers:
            worker.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _serve(self) -> None:
        while (job := self._next()) is not None:
            job.run()
            with self._changed:
                self._busy[job.urgency] -= 1
                self._changed.notify()

    def _may_start(self, urgency: Urgency) -> bool:
        """Keep one worker from the long pieces, or nobody would hear back while others speak."""
        if urgency is not Urgency.LATER_SOUND:
            return True
        return self._busy[urgency] < max(1, self.threads - 1)

    def _next(self) -> _Job[Any] | None:
        with self._changed:
            while True:
                for urgency, queue in zip(Urgency, self._waiting, strict=True):
                    if queue and self._may_start(urgency):
                        self._busy[urgency] += 1
                        return queue.popleft()
                if self._closed:
                    return None
                self._changed.wait()


class Lane:
    """One stream's or utterance's way to the workers: one piece of work at a time, in order."""

    def __init__(self, pool: WorkerPool, service: str) -> None:
        self._pool = pool
        self._service = service
        self._turn = asyncio.Lock()
        self._left = False

    async def run(
        self,
        work: Callable[[], T],
        *,
        urgency: Urgency,
        stop: Callable[[], None] = _nothing,
    ) -> T:
        """Do `work` in a worker thread and give its result.

        Cancelling drops work that still waits. Running work gets `stop` called and its result is
        discarded; the lane stays taken until the worker is really free, so that a caller who
        cancels in a loop cannot take more than one worker.
        """
        await self._turn.acquire()
        try:
            job = _Job(work, urgency, stop)
            self._pool.submit(job)
        except BaseException:
            self._turn.release()
            raise
        try:
            return await job.done
        except asyncio.CancelledError:
            if self._pool.withdraw(job):
                job.end()
            job.stop()
            raise
        finally:
            job.when_over(self._turn.release)

    def close(self) -> None:
        """Give the place back; safe to repeat."""
        if not self._left:
            self._left = True
            self._pool.leave(self._service)
