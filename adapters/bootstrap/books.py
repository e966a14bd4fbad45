"""The ledger, its log and its lists, joined over one data folder."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from adapters.bootstrap.problems import CannotStartError
from adapters.config import Settings
from adapters.keys import Ed25519Signer, check_signature, load_or_create_seed
from adapters.store.exclusive import held
from adapters.store.log import DamagedLogError, MerkleLog
from adapters.store.owner import LedgerOwner
from adapters.store.private import SqliteDetails
from adapters.store.sqlite import LedgerRecorder, sqlite_environment
from domain.checkpoint import SignerKey
from domain.ledger import Ledger
from domain.record import Record
from projections.follow import Follower
from projections.sqlite import SqliteTables, SqliteViews

HEAD_MS = 60_000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """The running parts of a ledger, and the key its log is signed with."""

    owner: LedgerOwner
    views: SqliteViews
    details: SqliteDetails
    log: MerkleLog
    key: SignerKey


def open_books(settings: Settings, url: str, stack: AsyncExitStack | ExitStack) -> Books:
    """The ledger with its log and lists; closed in the order that loses nothing."""
    data = settings.storage.data
    name = settings.log.name or url.partition("://")[2].partition("/")[0]
    signer = Ed25519Signer(load_or_create_seed(data / "log.key"))
    key = _published_key(data / "log.pub", SignerKey(name=name, public=signer.public))
    ledger = stack.enter_context(Ledger(env=sqlite_environment(str(data / "ledger.db"))))
    recorder = ledger.recorder
    assert isinstance(recorder, LedgerRecorder)  # noqa: S101 (the environment above says so)
    merkle = MerkleLog(recorder, origin=key.name, key=key, sign=signer.sign, check=check_signature)
    tables = stack.enter_context(closing(SqliteTables(data / "views.db")))
    follower = stack.enter_context(
        closing(
            Follower(
                tables,
                read=lambda after, limit: ledger.records(after=after, limit=limit),
                head=ledger.position,
            )
        )
    )

    def committed(records: tuple[Record, ...]) -> None:
        merkle.extend(records)
        follower.notify(records[-1].position)

    owner = LedgerOwner(ledger, history=recorder.history, committed=committed)
    stack.enter_context(closing(owner))
    details = stack.enter_context(closing(SqliteDetails(data / "private.db")))
    views = SqliteViews(tables, follower)
    return Books(owner=owner, views=views, details=details, log=merkle, key=key)


@contextmanager
def idle_books(data: Path) -> Iterator[LedgerOwner]:
    """The ledger of a gateway that is stopped, for an operator's hand; the folder is held."""
    if not (data / "ledger.db").is_file():
        raise CannotStartError(f"no ledger in {data}: give the gateway's data folder with --data")
    settings = Settings.from_environ({"PAYPHONE_DATA": str(data), "PAYPHONE_SANDBOX": "1"})
    with ExitStack() as stack:
        stack.enter_context(held(data))
        yield open_books(settings, "", stack).owner


def _published_key(path: Path, key: SignerKey) -> SignerKey:
    """The log keeps the name it began with, though the gateway may move; its key must be ours."""
    if path.exists():
        known = SignerKey.parse(path.read_text(encoding="utf-8"))
        if known.public != key.public:
            raise DamagedLogError(f"{path} names another key than log.key holds; restore the key")
        return known
    path.write_text(key.text + "\n", encoding="utf-8")
    return key


async def sign_heads(merkle: MerkleLog) -> None:
    """Sign the log's head by time, so that even a quiet hour is pinned down."""
    while True:
        await asyncio.sleep(HEAD_MS / 1_000)
        try:
            await asyncio.to_thread(merkle.checkpoint)
        except Exception:
            log.exception("signing the log failed")
