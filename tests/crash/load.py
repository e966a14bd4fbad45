"""A ledger process under load, made to be killed: it says what was acknowledged, a line each."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import random
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from multiprocessing.connection import Connection
from typing import Any
from uuid import UUID

from adapters.keys import check_signature
from adapters.store.lease import LeaseKeeper, Leases
from adapters.store.log import MerkleLog
from adapters.store.owner import LedgerOwner
from adapters.store.postgres import PostgresRecorder, postgres_environment
from adapters.store.sqlite import LedgerRecorder, sqlite_environment
from domain.account import Account
from domain.errors import BusyError, InsufficientCreditsError, LedgerDownError
from domain.ledger import Ledger, Work
from domain.money import Microcredits
from domain.pricing import DEFAULT_PRICE_BOOK
from domain.session import Order, Session
from domain.use_cases.close_session import close
from tests.fakes.clock import START_MS
from tests.fakes.log import SIGNER, SIGNER_KEY
from tests.fakes.stored import MAPPER

CLIENTS = 8
WALLETS = 12
TTL_MS = 300
REST_S = 0.02
PURSE = Microcredits(10**7)
QUANTITY_MS = 60_000


def environment(store: str) -> dict[str, str]:
    """The library's settings for a URL of PostgreSQL or a path of SQLite."""
    if store.startswith("postgresql:"):
        return postgres_environment(store)
    return sqlite_environment(store)


def live(store: str, seed: int, answers: Connection) -> None:
    """Write until killed; every acknowledged command is a line in the pipe."""
    # It is there to be hurt: what it says of it would be a page a second.
    logging.disable(logging.CRITICAL)
    with ExitStack() as stack:
        ledger = stack.enter_context(Ledger(env=environment(store)))
        recorder = ledger.recorder
        assert isinstance(recorder, PostgresRecorder | LedgerRecorder)
        if isinstance(recorder, PostgresRecorder):
            _hold_lease(stack, recorder)
        log = MerkleLog(
            recorder,
            origin=SIGNER_KEY.name,
            key=SIGNER_KEY,
            sign=SIGNER.sign,
            check=check_signature,
        )
        owner = LedgerOwner(ledger, history=recorder.history, committed=log.extend)
        asyncio.run(_load(owner, random.Random(seed), answers.fileno()))  # noqa: S311 (repeatable dice)


def _hold_lease(stack: ExitStack, recorder: PostgresRecorder) -> None:
    """Wait until whoever had it is known to be dead, then write under a lease of our own."""
    taken = threading.Event()

    def begin(lease: Any) -> None:  # noqa: ANN401 (whatever a lease is, it is passed on)
        recorder.hold(lease)
        taken.set()

    leases = stack.enter_context(closing(Leases(recorder.url)))
    LeaseKeeper(leases, address="crash", taken=begin, lost=lambda: None, ttl_ms=TTL_MS)
    taken.wait()


async def _load(owner: LedgerOwner, dice: random.Random, answers: int) -> None:
    async with asyncio.TaskGroup() as clients:
        for _ in range(CLIENTS):
            clients.create_task(_live_on(owner, dice, answers))


async def _live_on(owner: LedgerOwner, dice: random.Random, answers: int) -> None:
    """One customer: buys when there is nothing left, opens, talks, ends; for ever."""
    while True:
        wallet = f"0x{dice.randrange(WALLETS):040x}"
        session_id = UUID(int=dice.getrandbits(128), version=4)
        try:
            await _run(owner, answers, partial(open_one, wallet=wallet, session_id=session_id))
            await _run(owner, answers, partial(end_one, session_id=session_id))
        except InsufficientCreditsError:
            continue
        except (LedgerDownError, BusyError):
            await asyncio.sleep(REST_S)


def open_one(work: Work, *, wallet: str, session_id: UUID) -> None:
    """A purchase where one is needed, a reservation and a session: all of it or nothing."""
    account = work.find(Account, Account.create_id("evm", wallet))
    order = Order(
        service="stt",
        tariff=DEFAULT_PRICE_BOOK.tariff("stt"),
        price_book=DEFAULT_PRICE_BOOK.version,
        quantity=QUANTITY_MS,
        expires_at_ms=START_MS + 10 * QUANTITY_MS,
    )
    if account is None:
        account = Account.open(chain="evm", wallet=wallet, at_ms=START_MS)
        work.add(account)
    if account.available < order.price:
        account.purchase(PURSE, payment_id=session_id, rail="cash", at_ms=START_MS)
    account.reserve(
        order.price, session_id=session_id, service="stt", unit_id=session_id, at_ms=START_MS
    )
    session = Session.open(
        order,
        session_id=session_id,
        account_id=account.id,
        bundle_id=None,
        request_hash="",
        at_ms=START_MS,
    )
    work.add(session)


def end_one(work: Work, *, session_id: UUID) -> None:
    """Half a minute is used and charged, the rest comes back."""
    session = work.session(session_id)
    session.resume(session_id, at_ms=START_MS)
    session.pause(session_id, at_ms=START_MS + QUANTITY_MS // 2)
    close(work, session_id=session_id, reason="ended", at_ms=START_MS + QUANTITY_MS // 2)


async def _run(owner: LedgerOwner, answers: int, command: Callable[[Work], None]) -> None:
    made: list[tuple[str, int, str]] = []

    def watched(work: Work) -> None:
        made.clear()
        command(work)
        for event in work.pending():
            stored = MAPPER.to_stored_event(event)
            digest = hashlib.sha256(stored.state).hexdigest()
            made.append((str(stored.originator_id), stored.originator_version, digest))

    await owner.run(watched)
    os.write(answers, json.dumps(made).encode() + b"\n")
