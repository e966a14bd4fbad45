"""What can go wrong between a gateway and its money, as switches."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Faults:
    """Each stays as it is set until somebody sets it back; all off is an honest sandbox.

    - `facilitator_down`: refuses connections; nothing reaches the chain.
    - `settle_delay_ms`: the chain moves at once, the answer comes this much later.
    - `lose_answer`: the chain moves, the answer never comes (TimeoutError).
    - `deny_success`: the chain moves, the answer says that it did not.
    - `feign_success`: the answer says that the chain moved, and nothing was sent.
    - `send_twice`: the authorization is submitted a second time, and reverts.
    - `chain_unreadable`: the node gives no answers.
    """

    facilitator_down: bool = False
    settle_delay_ms: int = 0
    lose_answer: bool = False
    deny_success: bool = False
    feign_success: bool = False
    send_twice: bool = False
    chain_unreadable: bool = False
