"""A gateway whose ledger, log and lists are the real ones; only the world outside is played."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

from adapters.keys import check_signature
from adapters.store.log import MerkleLog
from adapters.store.owner import LedgerOwner
from adapters.store.private import SqliteDetails
from adapters.store.sqlite import LedgerRecorder, sqlite_environment
from domain.gateway import Gateway, Terms
from domain.ledger import Ledger
from domain.record import Record
from projections.follow import Follower
from projections.sqlite import SqliteTables
from projections.views import StoredViews
from tests.fakes.gateway import House
from tests.fakes.log import SIGNER, SIGNER_KEY


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredHouse:
    """The parts of one running gateway, as the composition root joins them."""

    house: House
    gateway: Gateway
    ledger: Ledger
    recorder: LedgerRecorder
    owner: LedgerOwner
    log: MerkleLog
    tables: SqliteTables
    follower: Follower

    def records(self) -> tuple[Record, ...]:
        """Every event there is, in order."""
        return tuple(self.recorder.scan())


@contextmanager
def ledger_at(folder: Path | None = None) -> Iterator[tuple[Ledger, LedgerRecorder]]:
    """A ledger in this folder, or in memory; closed at the end."""
    # A name of its own, or two ledgers in memory would be one.
    memory = f"file:{uuid4().hex}?mode=memory&cache=shared"
    path = memory if folder is None else str(folder / "ledger.db")
    with Ledger(env=sqlite_environment(path)) as ledger:
        assert isinstance(ledger.recorder, LedgerRecorder)
        yield ledger, ledger.recorder


def merkle_log(recorder: LedgerRecorder) -> MerkleLog:
    """The recorder's log under a throwaway key."""
    return MerkleLog(
        recorder,
        origin=SIGNER_KEY.name,
        key=SIGNER_KEY,
        sign=SIGNER.sign,
        check=check_signature,
    )


@contextmanager
def stored_house(
    folder: Path | None = None,
    terms: Terms | None = None,
    owner_class: type[LedgerOwner] = LedgerOwner,
) -> Iterator[StoredHouse]:
    """Everything running on this folder (or in memory), stopped at the end as at shutdown."""
    house = House(terms=terms or Terms())
    with ExitStack() as stack:
        ledger, recorder = stack.enter_context(ledger_at(folder))
        log = merkle_log(recorder)
        views_at = ":memory:" if folder is None else folder / "views.db"
        tables = stack.enter_context(closing(SqliteTables(views_at)))
        follower = Follower(
            tables,
            read=lambda after, limit: ledger.records(after=after, limit=limit),
            head=ledger.position,
        )
        stack.enter_context(closing(follower))

        def committed(records: tuple[Record, ...]) -> None:
            log.extend(records)
            follower.notify(records[-1].position)

        owner = owner_class(ledger, history=recorder.history, committed=committed)
        stack.enter_context(closing(owner))
        names_at = Path(":memory:") if folder is None else folder / "private.db"
        details = stack.enter_context(closing(SqliteDetails(names_at)))
        gateway = replace(
            house.gateway,
            books=owner,
            views=StoredViews(tables, follower),
            log=log,
            details=details,
            # Random, since another house may go on with the same files.
            new_id=uuid4,
        )
        yield StoredHouse(
            house=house,
            gateway=gateway,
            ledger=ledger,
            recorder=recorder,
            owner=owner,
            log=log,
            tables=tables,
            follower=follower,
        )
