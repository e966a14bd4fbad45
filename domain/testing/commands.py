"""What happens to a ledger, each as one command: all of it is stored, or nothing."""

from __future__ import annotations

from uuid import UUID

from domain.account import Account
from domain.ledger import Work
from domain.money import Microcredits
from domain.payout import Payout
from domain.session import Order, Session


def open_account(work: Work, *, wallet: str, at_ms: int) -> None:
    work.add(Account.open(chain="evm", wallet=wallet, at_ms=at_ms))


def purchase(work: Work, *, account_id: UUID, amount: int, payment_id: UUID, at_ms: int) -> None:
    work.account(account_id).purchase(
        Microcredits(amount), payment_id=payment_id, rail="cash", at_ms=at_ms
    )


def open_session(
    work: Work, *, account_id: UUID, session_id: UUID, order: Order, at_ms: int
) -> None:
    work.account(account_id).reserve(
        order.price, session_id=session_id, service=order.service, unit_id=session_id, at_ms=at_ms
    )
    session = Session.open(
        order,
        session_id=session_id,
        account_id=account_id,
        bundle_id=None,
        request_hash="",
        at_ms=at_ms,
    )
    work.add(session)


def find_session(work: Work, *, session_id: UUID) -> Session:
    return work.session(session_id)


def speak(work: Work, *, session_id: UUID, total: int, at_ms: int) -> None:
    work.session(session_id).speak(total, at_ms=at_ms)


def resume(work: Work, *, session_id: UUID, at_ms: int) -> None:
    work.session(session_id).resume(session_id, at_ms=at_ms)


def pause(work: Work, *, session_id: UUID, at_ms: int) -> None:
    work.session(session_id).pause(session_id, at_ms=at_ms)


def extend(work: Work, *, session_id: UUID, quantity: int, at_ms: int) -> None:
    session = work.session(session_id)
    more = session.extend(
        quantity=quantity, expires_at_ms=session.expires_at_ms, request_id="", at_ms=at_ms
    )
    work.account(session.account_id).reserve(
        more,
        session_id=session_id,
        service=session.service,
        unit_id=session_id,
        at_ms=at_ms,
    )


def close_session(work: Work, *, session_id: UUID, at_ms: int) -> None:
    session = work.session(session_id)
    if session.is_open:
        charged = session.close("ended", at_ms=at_ms)
        work.account(session.account_id).settle(
            session_id=session_id, service=session.service, charged=charged, at_ms=at_ms
        )


def withdraw(work: Work, *, account_id: UUID, payout_id: UUID, amount: int, at_ms: int) -> None:
    account = work.account(account_id)
    credit = Microcredits(amount)
    account.withdraw(credit, payout_id=payout_id, rail="cash", at_ms=at_ms)
    payout = Payout.request(
        payout_id=payout_id,
        account_id=account_id,
        rail="cash",
        chain=account.chain,
        wallet=account.wallet,
        amount=credit,
        fee=Microcredits(amount // 10),
        who="",
        why="",
        at_ms=at_ms,
    )
    work.add(payout)


def sign_payout(work: Work, *, payout_id: UUID, at_ms: int) -> None:
    payout = work.payout(payout_id)
    payout.prepare(
        proof_key=f"coin of {payout_id}",
        network="cash",
        payer="the house",
        expires_at_ms=at_ms + 1,
        payload="{}",
        at_ms=at_ms,
    )
    payout.submit(at_ms=at_ms)


def pay_out(work: Work, *, payout_id: UUID, at_ms: int) -> None:
    payout = work.payout(payout_id)
    if payout.pay("receipt", at_ms=at_ms):
        work.account(payout.account_id).pay_out(
            payout_id=payout_id, rail=payout.rail, fee=payout.fee, reference="receipt", at_ms=at_ms
        )


def take_back(work: Work, *, payout_id: UUID, at_ms: int) -> None:
    payout = work.payout(payout_id)
    if payout.fail("it expired", at_ms=at_ms):
        work.account(payout.account_id).take_back(
            payout_id=payout_id, rail=payout.rail, at_ms=at_ms
        )
