"""What the log says of a Solana payment: all that an operator needs, and nothing to pay with."""

from __future__ import annotations

import json

import pytest
from x402.mechanisms.svm.constants import ERR_SIMULATION_FAILED
from x402.schemas import VerifyResponse

from adapters.sandbox.solana_facilitator import FaultyFacilitator, Payload, Requirements
from domain.errors import RailDownError
from tests.fakes.solana_sandbox import SolanaSandbox


@pytest.fixture
def cluster() -> SolanaSandbox:
    return SolanaSandbox()


async def test_why_a_facilitators_simulation_failed_is_logged(
    cluster: SolanaSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """Its message is the only detail there is."""

    class Failing(FaultyFacilitator):
        async def verify(self, payload: Payload, requirements: Requirements) -> VerifyResponse:
            return VerifyResponse(
                is_valid=False,
                invalid_reason=ERR_SIMULATION_FAILED,
                invalid_message="custom program error: 0x11",
            )

    rail = cluster.new_rail(facilitator=Failing(cluster.own, cluster.clock, cluster.faults))

    with pytest.raises(RailDownError):
        await rail.verify(await cluster.proof(), cluster.purchase())

    said = [vars(record).get("detail") for record in caplog.records]
    assert "custom program error: 0x11" in said


async def test_no_log_line_holds_a_transaction(
    cluster: SolanaSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    proof = await cluster.proof()
    caplog.set_level(0)
    cluster.faults.lose_answer = True

    await cluster.rail.settle(proof)

    lines = "".join(str(vars(record)) for record in caplog.records)
    assert lines
    assert json.loads(proof.payload)["payload"]["transaction"][88:] not in lines
