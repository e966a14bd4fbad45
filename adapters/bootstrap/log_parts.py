"""The log's parts around its tree: its keys, who cosigns its heads, what is told of them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from adapters.bootstrap.problems import CannotStartError
from adapters.config import Settings, WitnessSettings
from adapters.http.site import LogInfo
from adapters.keys import check_signature
from adapters.log_keys import PUBLIC, LogKeys, load_log_keys, rotate_log_key
from adapters.store.exclusive import held
from adapters.store.log import MerkleLog
from adapters.store.sqlite import sqlite_environment
from adapters.store.stored import StoredLog
from adapters.witness.asker import WitnessAddress, WitnessAsker
from domain.checkpoint import also_signed, parse_checkpoint, split_note
from domain.ledger import Ledger


def open_log(recorder: StoredLog, keys: LogKeys) -> MerkleLog:
    """The tree over the stored events, held against the last head that one of these keys signed."""
    return MerkleLog(
        recorder,
        origin=keys.key.name,
        key=keys.key,
        sign=keys.sign,
        check=check_signature,
        former=keys.former,
    )


def log_of_site(keys: LogKeys, witnesses: Sequence[WitnessSettings]) -> LogInfo:
    """What anybody may know of the log's keys."""
    return LogInfo(
        keys=tuple((key.text, keys.since(key)) for key in keys.all),
        rotations=keys.rotations,
        witnesses=tuple(witness.key.text for witness in witnesses),
    )


async def ask_witnesses(witnesses: Sequence[WitnessSettings], merkle: MerkleLog) -> None:
    """Have every new head cosigned, until cancelled."""
    if not witnesses:
        return
    addresses = [WitnessAddress(url=witness.url, key=witness.key) for witness in witnesses]
    asker = WitnessAsker(merkle, addresses, check=check_signature)
    merkle.when_signed(asker.head_signed)
    await asker.run()


def rotate_key(settings: Settings) -> tuple[LogKeys, int]:
    """Give the log of a gateway that is stopped a new key; the keys, and the size of the last head.

    Where an earlier call died after the new key was decided on, that one is finished instead.
    """
    data, database = settings.storage.data, settings.storage.database
    with ExitStack() as stack:
        stack.enter_context(held(data))
        if not (data / PUBLIC).is_file():
            raise CannotStartError(f"no log in {data}: give the gateway's data folder with --data")
        keys = load_log_keys(data, name="")
        recorder = _recorder(settings, stack)
        if database:
            _check_stopped(database)
        size, note = open_log(recorder, keys).checkpoint()
        if keys.is_resumed:
            return keys, size
        keys = rotate_log_key(data, keys, head=parse_checkpoint(split_note(note)[0]))
        # Bills under this head name the key of today.
        recorder.put_checkpoint(size, also_signed(note, keys.key, keys.sign))
        return keys, size


def _recorder(settings: Settings, stack: ExitStack) -> StoredLog:
    database, path = settings.storage.database, settings.storage.data / "ledger.db"
    if database:
        # PostgreSQL's client is an optional extra.
        from adapters.store.postgres import postgres_environment  # noqa: PLC0415 (as said above)

        environment = postgres_environment(database)
    elif path.is_file():
        environment = sqlite_environment(str(path))
    else:
        raise CannotStartError(f"no ledger in {path.parent}: name its database with --database")
    recorder: StoredLog = stack.enter_context(Ledger(env=environment)).recorder  # type: ignore[assignment]  # the environment says which
    return recorder


def _check_stopped(database: str) -> None:
    """The folder cannot tell of a gateway on another machine; the lease can."""
    from adapters.store.lease import Leases  # noqa: PLC0415 (PostgreSQL's client is optional)

    leases = Leases(database)
    try:
        holder = leases.holder()
    finally:
        leases.close()
    if holder is not None:
        raise CannotStartError(
            f"a gateway writes to this database ({holder.address or holder.owner}): stop them all"
        )
