"""Ends the process it is loaded into by SIGKILL, at one of the steps of paying out.

Python loads this at its start where `PYTHONPATH` names the folder; `DOOM_AFTER` says how many steps
are lived through. A step is before each command of a payout, before each call of its rail, and
after the last command: between two of them nothing is written and nothing is sent.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

from adapters.store.owner import LedgerOwner
from domain.gateway import Gateway
from domain.ports.payments import PayoutRail
from domain.use_cases import pay_out

PAYING = ("domain.use_cases.pay_out", "domain.use_cases.refund_credits")
LAST = "_pay"
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
            name = getattr(function, "__name__", "")
            concerns_us = getattr(function, "__module__", "") in PAYING
            if concerns_us:
                self.step()
            answer = await run(owner, command)
            if concerns_us and name == LAST:
                self.step()
            return answer

        return stepped

    def calls(self, call: Call) -> Call:
        async def stepped(*given: object) -> Any:  # noqa: ANN401 (what the rail answers)
            self.step()
            return await call(*given)

        return stepped


class DoomedRail:
    """A rail that pays back, with a step before every call."""

    def __init__(self, rail: PayoutRail, doom: Doom) -> None:
        self.name = rail.name
        self.prepare, self.settle, self.lookup = map(
            doom.calls, (rail.prepare, rail.settle, rail.lookup)
        )


def begin(steps: int) -> None:
    doom, whole = Doom(steps), pay_out.payout_rail

    def payout_rail(gateway: Gateway, name: str) -> DoomedRail | None:
        rail = whole(gateway, name)
        return None if rail is None else DoomedRail(rail, doom)

    LedgerOwner.run = doom.commands(LedgerOwner.run)  # type: ignore[method-assign]  # what this is for
    pay_out.payout_rail = payout_rail  # type: ignore[assignment]  # as above


if "DOOM_AFTER" in os.environ:
    begin(int(os.environ["DOOM_AFTER"]))
