"""Whoever runs commands behind a command socket, at the test's own pace."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from adapters.store.owner import Reply
from domain.ledger import Work

Asked = tuple[Callable[[Work], Any], Reply]
PATIENCE_S = 10.0


class Desk:
    """Runs commands at once, on nothing; or, while `is_slow`, when `work_off` is called.

    `room` is how many it takes at all. `groups` has the sizes of what came in together.
    """

    def __init__(self) -> None:
        self.position = 0
        self.room = 10**6
        self.is_slow = False
        self.groups: list[int] = []
        self.waiting: list[Asked] = []
        self._came = threading.Condition()

    def submit(self, asked: Sequence[Asked]) -> int:
        taken = asked[: self.room]
        self.room -= len(taken)
        with self._came:
            self.groups.append(len(asked))
            self.waiting += taken
            self._came.notify_all()
        if not self.is_slow:
            self.work_off()
        return len(taken)

    def wait_for(self, commands: int) -> None:
        """Until that many wait here."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.waiting) >= commands, PATIENCE_S)

    def work_off(self, *, backwards: bool = False) -> None:
        waiting, self.waiting = self.waiting, []
        for command, reply in reversed(waiting) if backwards else waiting:
            self.position += 1
            try:
                tell, told = reply.set_result, command(Work(lambda _id: None))
            except Exception as refusal:  # noqa: BLE001 (whatever a command raises is its caller's)
                tell, told = reply.set_exception, refusal
            reply.get_loop().call_soon_threadsafe(tell, told)
