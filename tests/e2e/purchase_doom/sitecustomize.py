"""Ends the process it is loaded into by SIGKILL, at one of the steps of taking a payment.

Python loads this at its start where `PYTHONPATH` names the folder. `DOOM_AFTER` says how many steps
are lived through, `DOOM_RAIL` whose they are (`module:class`). A step is before each command of a
purchase, before and after each call of its rail that looks or moves money, and after the credit:
between two of them nothing is written and nothing is sent.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

from adapters.store.owner import LedgerOwner

TAKING = "domain.use_cases.purchase_credits"
CREDIT = "credit"
Call = Callable[..., Awaitable[Any]]


class Doom:
    """So many steps are left."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def step(self) -> None:
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1

    def commands(self, run: Call) -> Call:
        async def stepped(owner: LedgerOwner, command: object) -> Any:  # noqa: ANN401 (what the command answers)
            function = command.func if isinstance(command, partial) else command
            concerns_us = getattr(function, "__module__", "") == TAKING
            if concerns_us:
                self.step()
            answer = await run(owner, command)
            if concerns_us and getattr(function, "__name__", "") == CREDIT:
                self.step()
            return answer

        return stepped

    def calls(self, call: Call) -> Call:
        async def stepped(*given: object) -> Any:  # noqa: ANN401 (what the rail answers)
            self.step()
            answer = await call(*given)
            self.step()
            return answer

        return stepped


def begin(steps: int, rail: str) -> None:
    doom = Doom(steps)
    LedgerOwner.run = doom.commands(LedgerOwner.run)  # type: ignore[method-assign]  # what this is for
    module, _, name = rail.partition(":")
    doomed = getattr(import_module(module), name)
    for call in ("verify", "settle"):
        setattr(doomed, call, doom.calls(getattr(doomed, call)))


if "DOOM_AFTER" in os.environ:
    begin(int(os.environ["DOOM_AFTER"]), os.environ["DOOM_RAIL"])
