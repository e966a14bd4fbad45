"""Payments that strangers make up from what the chain shows: cheap for us, and good for nothing."""

from __future__ import annotations

import pytest

from domain.errors import PaymentRefusedError
from tests.fakes.sandbox import Sandbox, changed


class Counted:
    """The sandbox's node, and what it was asked."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._node = sandbox.node
        self.asked: list[str] = []

    async def call(self, method: str, params: list[object]) -> object:
        self.asked.append(method)
        return await self._node.call(method, params)


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox()


@pytest.mark.parametrize(
    "lie", [{"validBefore": "0"}, {"validBefore": "1"}, {"validAfter": "1"}], ids=str
)
async def test_a_forged_copy_of_a_used_authorization_makes_us_search_nothing(
    sandbox: Sandbox, lie: dict[str, str]
) -> None:
    """A search goes back to before the time that it names, through all the chain if need be."""
    payment = await sandbox.pay()
    await sandbox.rail.settle(await sandbox.decoded(payment))
    forged = await sandbox.decoded(changed(payment, **lie))
    node = Counted(sandbox)

    with pytest.raises(PaymentRefusedError):
        await sandbox.new_rail(rpc=node).verify(forged, sandbox.purchase())

    assert "eth_getLogs" not in node.asked


async def test_a_used_authorization_under_a_strangers_signature_is_refused(
    sandbox: Sandbox,
) -> None:
    """It paid us, but who shows it now did not sign it."""
    payment = await sandbox.pay()
    await sandbox.rail.settle(await sandbox.decoded(payment))
    forged = payment.model_copy(deep=True)
    forged.payload["signature"] = "0x" + "11" * 64 + "1b"

    with pytest.raises(PaymentRefusedError, match="signature does not fit"):
        await sandbox.rail.verify(await sandbox.decoded(forged), sandbox.purchase())
