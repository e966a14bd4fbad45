"""The real owner of the ledger without its thread: the event loop turns the crank.

Whatever runs on it is decided by the order of things alone, so that a seed tells all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from adapters.store.owner import LedgerOwner


class SteppedOwner(LedgerOwner):
    """Commits what is queued `patience` turns of the loop after the first command came.

    A larger `patience` is a slower disk: more commands gather for a batch.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 (the owner's own)
        self.patience = 0
        self._is_due = False
        super().__init__(*arguments, **options)

    def abandon(self) -> None:
        """Die with the queue unread: nobody will ever answer."""
        self._queue.clear()

    def close(self) -> None:
        self._closing = True
        self._work_off()
        if self._keeper is not None:
            self._keeper.close()

    def _begin(self) -> None:
        """There is no thread to begin."""

    def _wake(self) -> None:
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._turn, self.patience)

    def _turn(self, patience: int) -> None:
        if patience:
            asyncio.get_running_loop().call_soon(self._turn, patience - 1)
            return
        self._is_due = False
        self._work_off()

    def _work_off(self) -> None:
        while self._queue:
            self._commit(self._next_batch())


class InlineExecutor(ThreadPoolExecutor):
    """What `asyncio.to_thread` runs on, without the thread."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:  # noqa: ANN401 (the executor's signature)
        done: Future[Any] = Future()
        try:
            done.set_result(function(*args, **kwargs))
        except Exception as failure:  # noqa: BLE001 (whatever it raises is its caller's)
            done.set_exception(failure)
        return done
