"""What a node does not show, or cannot know, is no reason to refuse a payment or to give it up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from domain.errors import PaymentUncertainError
from domain.ports.payments import Absent, Uncertain
from tests.fakes.tron_sandbox import LONG_MS, TronSandbox, tron_sandbox
from tests.fakes.tron_tricks import Retold, carried

pytestmark = pytest.mark.anvil


@pytest.fixture
async def sandbox() -> AsyncIterator[TronSandbox]:
    async with tron_sandbox() as opened:
        yield opened


async def test_a_node_of_another_network_gives_no_payment_up(sandbox: TronSandbox) -> None:
    """There no nonce was ever used, and the permit's time is over."""

    def other(told: dict[str, Any]) -> dict[str, Any]:
        return told | {"result": "0xcd8690dc"}

    proof = await sandbox.proof()
    sandbox.clock.advance(LONG_MS)
    ours = await sandbox.rail.lookup(proof)
    rail = sandbox.new_rail(node=Retold(sandbox.network.reader, jsonrpc=other))

    assert (ours, await rail.lookup(proof)) == (Absent(final=True), Uncertain(""))


async def test_a_permit_used_in_a_way_that_is_not_shown_yet_is_not_refused(
    sandbox: TronSandbox,
) -> None:
    """A refusal would ask for the money again, and it may be ours."""
    payment = await sandbox.pay()
    proof = await sandbox.decoded(payment)
    await carried(sandbox, payment)
    late = Retold(sandbox.network.reader, jsonrpc=lambda told: told | {"result": []})

    with pytest.raises(PaymentUncertainError):
        await sandbox.new_rail(node=late).verify(proof, sandbox.purchase())
