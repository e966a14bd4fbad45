"""What speech servers report becomes billed time and characters, whenever it arrives."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from uuid import UUID

from domain.gateway import Gateway
from domain.ledger import Work
from domain.session import Session
from domain.usage import Standing, Usage, apply_usage
from domain.use_cases.close_session import settle_spent


async def record_usage(gateway: Gateway, reports: Sequence[Usage]) -> tuple[Standing, ...]:
    """Record the reports, those of one session in their order; how each session stands afterwards.

    Safe to repeat, in whole or in part. Sessions that do not exist are left out. Raises `BusyError`
    or `LedgerDownError` where not all of it could be recorded: send it all again.
    """
    by_session: dict[UUID, list[Usage]] = {}
    for usage in reports:
        by_session.setdefault(usage.session_id, []).append(usage)
    # All at once, so that they share a batch of the ledger's.
    done = await asyncio.gather(
        *(_record(gateway, tuple(own)) for own in by_session.values()), return_exceptions=True
    )
    for failure in done:
        if isinstance(failure, BaseException):
            raise failure
    return tuple(Standing.of(session) for session in done if isinstance(session, Session))


async def _record(gateway: Gateway, reports: tuple[Usage, ...]) -> Session | None:
    now_ms = gateway.clock.now_ms()
    session = await gateway.books.run(partial(_apply, reports=reports, now_ms=now_ms))
    if session is not None and session.is_open and any(usage.is_spent for usage in reports):
        session = await settle_spent(gateway, session.id)
    return session


def _apply(work: Work, *, reports: tuple[Usage, ...], now_ms: int) -> Session | None:
    session = work.find(Session, reports[0].session_id)
    if session is None or session.service == "webrtc":
        return None
    for usage in reports:
        apply_usage(session, usage, now_ms=now_ms)
    return session
