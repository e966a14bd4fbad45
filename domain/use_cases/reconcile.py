"""Finish what a crash or an outage left half done: clocks, expired sessions, payments, payouts."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from domain.errors import GatewayError
from domain.gateway import Gateway
from domain.ledger import Work
from domain.payment import Payment
from domain.ports.payments import Absent, Settled
from domain.use_cases.close_session import settle_spent
from domain.use_cases.meter import BEATS_MISSED_MAX
from domain.use_cases.pay_out import finish_payout
from domain.use_cases.purchase_credits import (
    credit,
    finish_payment,
    proof_of,
    rail_named,
    reject,
)


async def reconcile(gateway: Gateway) -> int:
    """One sweep; returns how many things it looked at. Safe to repeat and to interrupt."""
    await gateway.views.caught_up(gateway.books.position)
    clocks = await stop_orphaned_clocks(gateway)
    sessions = await settle_due_sessions(gateway)
    try:
        payments = await finish_payments(gateway)
    finally:
        # What is owed to customers does not wait for a rail that is at fault.
        payouts = await finish_payouts(gateway)
    return clocks + sessions + payments + payouts


async def stop_orphaned_clocks(gateway: Gateway) -> int:
    """Pause clocks that nobody watches, at the last time they were seen running (B10).

    A clock with a line here is watched. One without, seen within three heartbeats, is watched by
    another process or may be about to be; where that process died, a later sweep stops it.
    """
    running = await gateway.views.sessions_running()
    for session_id in running:
        if gateway.switchboard.line(session_id) is not None:
            continue
        stale_ms = gateway.clock.now_ms() - BEATS_MISSED_MAX * gateway.terms.heartbeat_ms
        await gateway.books.run(partial(_recover, session_id=session_id, seen_before_ms=stale_ms))
    return len(running)


async def recover_clocks(gateway: Gateway) -> int:
    """At the start of the only process: every running clock is of one that is gone; stop them all.

    Where there are several, the owner's sweeps do it, since the others' clocks do run.
    """
    await gateway.views.caught_up(gateway.books.position)
    running = await gateway.views.sessions_running()
    for session_id in running:
        await gateway.books.run(partial(_recover, session_id=session_id, seen_before_ms=None))
    return len(running)


def _recover(work: Work, *, session_id: UUID, seen_before_ms: int | None) -> None:
    session = work.session(session_id)
    if seen_before_ms is None or session.observed_at_ms < seen_before_ms:
        session.recover()


async def settle_due_sessions(gateway: Gateway) -> int:
    """Settle sessions whose time to be used has passed."""
    due = await gateway.views.sessions_due(gateway.clock.now_ms())
    for session_id in due:
        await gateway.switchboard.catch_up(session_id)
        await settle_spent(gateway, session_id)
    return len(due)


async def finish_payments(gateway: Gateway) -> int:
    """Look up every payment without a final outcome and finish it; a refusal waits for the next.

    A failure of one holds up no other, and is raised when all were looked at.
    """
    unfinished = await gateway.views.payments_unfinished()
    failures: list[Exception] = []
    for payment_id in unfinished:
        payment = await gateway.books.run(partial(Work.payment, payment_id=payment_id))
        try:
            await _finish(gateway, payment)
        except GatewayError:
            # Recorded where it happened; the next sweep looks again.
            continue
        except Exception as failure:  # noqa: BLE001 (a rail at fault; raised below)
            failures.append(failure)
    if failures:
        raise ExceptionGroup("payments failed", failures)
    return len(unfinished)


async def finish_payouts(gateway: Gateway) -> int:
    """Go on with every payout that is neither paid nor failed; what cannot be now waits.

    A failure of one holds up no other, and is raised when all were looked at.
    """
    unfinished = await gateway.views.payouts_unfinished()
    failures: list[Exception] = []
    for payout_id in unfinished:
        try:
            await finish_payout(gateway, payout_id)
        except GatewayError:
            # Its rail or the ledger is down; the next sweep looks again.
            continue
        except Exception as failure:  # noqa: BLE001 (a rail at fault; raised below)
            failures.append(failure)
    if failures:
        raise ExceptionGroup("payouts failed", failures)
    return len(unfinished)


async def _finish(gateway: Gateway, payment: Payment) -> None:
    if payment.is_over:
        return
    rail = rail_named(gateway, payment.rail)
    proof = proof_of(payment)
    if payment.state != "rejected":
        await finish_payment(gateway, rail, payment.id, proof)
        return
    # Refused by us, but signed: until it expires anybody may still send it to the chain.
    found = await rail.lookup(proof)
    now_ms = gateway.clock.now_ms()
    if isinstance(found, Settled):
        await gateway.books.run(
            partial(credit, payment_id=payment.id, reference=found.reference, at_ms=now_ms)
        )
    elif isinstance(found, Absent) and found.final:
        await gateway.books.run(
            partial(reject, payment_id=payment.id, reason=payment.reason, final=True, at_ms=now_ms)
        )
