"""What can be done with a TRON permit, and to a TRON node, behind our back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bankofai.x402.types import PaymentPayload

from adapters.rails.tron_desk import SignedPermit
from adapters.rails.tron_networks import TRON_MAINNET
from adapters.rails.tron_node import TronNode
from adapters.rails.tron_permit import Permit, parse_signature
from domain.ports.payments import Proof
from tests.fakes.tron_sandbox import BUYER_KEY, TronSandbox, signed_again


class Retold:
    """The sandbox's node, with what it answers on some paths told differently."""

    def __init__(self, node: TronNode, **edits: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self._node = node
        self._edits = edits
        self.asked: list[str] = []

    async def ask(self, path: str, body: dict[str, object]) -> dict[str, object]:
        name = path.rpartition("/")[2]
        self.asked.append(name)
        answer = json.loads(json.dumps(await self._node.ask(path, body)))
        edited: dict[str, object] = self._edits.get(name, lambda told: told)(answer)
        return edited


async def carried(sandbox: TronSandbox, payment: dict[str, Any]) -> str:
    """What anybody can do with a permit: take it to the facilitator. Its transaction."""
    model = PaymentPayload(**payment)
    terms = model.accepted
    permit = model.payload.payment_permit
    assert permit is not None
    terms.amount, terms.pay_to = permit.payment.pay_amount, permit.payment.pay_to
    answer = await sandbox.network.facilitator.settle(model, terms)
    assert answer.success, answer
    return str(answer.transaction)


def another(payment: dict[str, Any], *, key: bytes = BUYER_KEY, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 (fields of a permit)
    """The buyer signs something else, with these fields changed."""
    copy = json.loads(json.dumps(payment))
    signed = SignedPermit.of(_proof(payment))
    copy["payload"]["paymentPermit"] = replace(signed.permit, **changes).wire()
    return signed_again(copy, key)


def _proof(payment: dict[str, Any]) -> Proof:
    payload = payment["payload"]
    signed = SignedPermit(
        Permit.parse(payload["paymentPermit"]), parse_signature(payload["signature"])
    )
    return signed.proof(TRON_MAINNET)
