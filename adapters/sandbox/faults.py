"""What can go wrong between a gateway and its money, as switches."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from domain.ports.clock import Clock

# Who is to be overtaken waits no longer than this for somebody to do it.
_OVERTAKEN_MS = 2_000


@dataclass(slots=True)
class Faults:
    """Each stays as it is set until somebody sets it back; all off is an honest sandbox.

    - `facilitator_down`: refuses connections; nothing reaches the chain.
    - `settle_delay_ms`: the chain moves at once, the answer comes this much later.
    - `lose_answer`: the chain moves, the answer never comes (TimeoutError).
    - `deny_success`: the chain moves, the answer says that it did not.
    - `feign_success`: the answer says that the chain moved, and nothing was sent.
    - `send_twice`: the payment is submitted a second time, and fails then.
    - `reorder`: a payment reaches the chain after the one that came next.
    - `chain_unreadable`: the node gives no answers.
    - `drop_reply`: the gateway credits, and its answer to the buyer is lost.
    """

    facilitator_down: bool = False
    settle_delay_ms: int = 0
    lose_answer: bool = False
    deny_success: bool = False
    feign_success: bool = False
    send_twice: bool = False
    reorder: bool = False
    chain_unreadable: bool = False
    drop_reply: bool = False
    _overtaking: asyncio.Event | None = field(default=None, init=False, repr=False)

    def shown(self) -> Mapping[str, int]:
        """Every switch by its name, as a number."""
        return {name: int(getattr(self, name)) for name in _names()}

    def turn(self, name: str, value: int) -> None:
        """Set one switch; KeyError where there is none of this name."""
        if name not in _names():
            raise KeyError(name)
        setattr(self, name, type(getattr(self, name))(value))

    async def take_turn(self, clock: Clock) -> None:
        """Return when it is this payment's turn to go to the chain; facilitators call it first."""
        if not self.reorder:
            return
        if self._overtaking is not None:
            # We are the next one: the one before goes when we are gone.
            overtaken, self._overtaking = self._overtaking, None
            asyncio.get_running_loop().call_soon(overtaken.set)
            return
        waiting = self._overtaking = asyncio.Event()
        give_up = asyncio.create_task(clock.sleep_until(clock.now_ms() + _OVERTAKEN_MS))
        passed = asyncio.create_task(waiting.wait())
        try:
            await asyncio.wait((give_up, passed), return_when=asyncio.FIRST_COMPLETED)
        finally:
            give_up.cancel()
            passed.cancel()
            if self._overtaking is waiting:
                self._overtaking = None


def _names() -> tuple[str, ...]:
    return tuple(f.name for f in fields(Faults) if f.init)
