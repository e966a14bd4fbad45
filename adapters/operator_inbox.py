"""What an operator asks of a gateway that runs: files in its data folder, one a request.

Whoever can write there has the gateway's keys, too. A request stays until it was taken or refused,
whatever dies meanwhile; taken twice it is the same refund.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from domain.errors import BusyError, GatewayError, LedgerDownError
from domain.gateway import Gateway
from domain.money import Microcredits
from domain.use_cases.reconcile import finish_payouts
from domain.use_cases.refund_credits import RefundRequest, request_refund

log = logging.getLogger(__name__)

LOOK_MS = 1_000
_BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class Inbox:
    """The requests under a data folder: `<id>.json`, and `<id>.refused` with the reason why not."""

    data: Path

    def leave(self, request: RefundRequest) -> None:
        """Put a request there, whole or not at all."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._refused(request.payout_id).unlink(missing_ok=True)
        part = self._folder / f"{request.payout_id}.part"
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(_written(request), file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._asked(request.payout_id))

    def is_waiting(self, payout_id: UUID) -> bool:
        """Whether nobody has taken it yet."""
        return self._asked(payout_id).exists()

    def refusal(self, payout_id: UUID) -> str:
        """Why it was refused, "" where it was not."""
        try:
            return self._refused(payout_id).read_text("utf-8")
        except FileNotFoundError:
            return ""

    async def attend(self, gateway: Gateway, *, is_owner: Callable[[], bool]) -> None:
        """Look in once a second, for ever, and pay what was asked for; the owner's work."""
        while True:
            try:
                if is_owner() and await self.work_off(gateway):
                    await gateway.views.caught_up(gateway.books.position)
                    await finish_payouts(gateway)
            except Exception:
                # Whatever it was, the requests are still there, and are tried again in a second.
                log.exception("inbox failed")
            await gateway.clock.sleep_until(gateway.clock.now_ms() + LOOK_MS)

    async def work_off(self, gateway: Gateway) -> int:
        """Write every request into the ledger; how many there were. What is wrong is told."""
        waiting = sorted(self._folder.glob("*.json"))
        for path in waiting:
            try:
                await request_refund(gateway, _read(path))
            except (BusyError, LedgerDownError):
                # It stays, and is asked for again.
                return 0
            except (GatewayError, ValueError, LookupError, TypeError) as refusal:
                log.warning("operator's refund refused", extra={"request": path.stem})
                path.with_suffix(".refused").write_text(str(refusal), "utf-8")
            path.unlink()
        return len(waiting)

    @property
    def _folder(self) -> Path:
        return self.data / "operator" / "refunds"

    def _asked(self, payout_id: UUID) -> Path:
        return self._folder / f"{payout_id}.json"

    def _refused(self, payout_id: UUID) -> Path:
        return self._folder / f"{payout_id}.refused"


def _written(request: RefundRequest) -> dict[str, object]:
    return {
        "payout_id": str(request.payout_id),
        "account_id": str(request.account_id),
        "amount": request.amount.value,
        "fee": request.fee.value,
        "rail": request.rail,
        "who": request.who,
        "why": request.why,
    }


def _read(path: Path) -> RefundRequest:
    """ValueError, LookupError or TypeError for what is no request of an operator."""
    if path.stat().st_size > _BYTES_MAX:
        raise ValueError("it is too large")
    fields = json.loads(path.read_text("utf-8"))
    texts = [fields[name] for name in ("rail", "who", "why")]
    if not all(isinstance(text, str) for text in texts) or not fields["who"]:
        raise ValueError("it does not say who asks")
    return RefundRequest(
        payout_id=UUID(fields["payout_id"]),
        account_id=UUID(fields["account_id"]),
        amount=Microcredits(fields["amount"]),
        fee=Microcredits(fields["fee"]),
        rail=fields["rail"],
        who=fields["who"],
        why=fields["why"],
    )
