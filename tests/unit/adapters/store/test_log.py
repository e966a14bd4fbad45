from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from adapters.keys import Ed25519Signer, check_signature
from adapters.store import log as log_module
from adapters.store.log import DamagedLogError, MerkleLog
from domain.account import Account
from domain.checkpoint import SignerKey, open_checkpoint
from domain.ledger import Ledger
from domain.merkle import EMPTY_ROOT, leaf_hash, verify_inclusion
from tests.fakes.log import SIGNER_KEY
from tests.fakes.stored_house import ledger_at, merkle_log

AT_MS = 1_700_000_000_000
# Throwaway: 32 bytes of 0x0a.
OTHER = Ed25519Signer(b"\x0a" * 32)


def grow(ledger: Ledger, log: MerkleLog | None, events: int) -> None:
    for _ in range(events):
        account = Account.open(chain="evm", wallet=f"0x{ledger.position:040x}", at_ms=AT_MS)
        records = ledger.append(account.collect_events())
        if log is not None:
            log.extend(records)


def signed_ledger(folder: Path, events: int = 9) -> None:
    """A ledger whose last head covers all of it."""
    with ledger_at(folder) as (ledger, recorder):
        log = merkle_log(recorder)
        grow(ledger, log, events)
        log.checkpoint()


def tamper(folder: Path, statement: str) -> None:
    """What somebody with the file could do."""
    connection = sqlite3.connect(folder / "ledger.db")
    with connection:
        connection.execute(statement)
    connection.close()


def start(folder: Path) -> int:
    with ledger_at(folder) as (_, recorder):
        return merkle_log(recorder).checkpoint()[0]


def test_an_empty_log_signs_the_hash_of_nothing() -> None:
    with ledger_at() as (_, recorder):
        size, note = merkle_log(recorder).checkpoint()

    head = open_checkpoint(note, key=SIGNER_KEY, check=check_signature)
    assert (size, head.size, head.root) == (0, 0, EMPTY_ROOT)


def test_an_untouched_ledger_starts_again_under_the_same_head(tmp_path: Path) -> None:
    signed_ledger(tmp_path)

    with ledger_at(tmp_path) as (_, recorder):
        heads = recorder.checkpoints()
        log = merkle_log(recorder)

        assert (log.checkpoint(),) == heads


def test_events_after_the_last_head_do_not_stop_a_start(tmp_path: Path) -> None:
    signed_ledger(tmp_path)
    with ledger_at(tmp_path) as (ledger, _):
        grow(ledger, None, 3)

    assert start(tmp_path) == 12


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("DELETE FROM stored_events WHERE rowid = 9", "signed at 9 events and has 8: truncated"),
        ("DELETE FROM stored_events WHERE rowid > 2", "signed at 9 events and has 2: truncated"),
        ("DELETE FROM stored_events", "signed at 9 events and has 0: truncated"),
        ("DELETE FROM stored_events WHERE rowid = 4", "position 4 is missing before 5"),
        (
            "UPDATE stored_events SET state = replace(state, '0000001', '0000009') WHERE rowid = 2",
            "the first 9 events are not the ones that were signed: edited",
        ),
        (
            "UPDATE stored_events SET topic = 'account.closed' WHERE rowid = 3",
            "the first 9 events are not the ones that were signed: edited",
        ),
        (
            "UPDATE stored_events SET originator_id = 'me' WHERE rowid = 3",
            "position 3 cannot be read",
        ),
        ("UPDATE stored_events SET state = NULL WHERE rowid = 3", "position 3 cannot be read"),
        ("UPDATE stored_events SET topic = NULL WHERE rowid = 3", "position 3 cannot be read"),
        (
            "UPDATE stored_events SET originator_version = 'x' WHERE rowid = 3",
            "position 3 cannot be read",
        ),
        (
            "UPDATE checkpoints SET note = replace(note, '9', '8')",
            "the last signed head .size 9. does not verify",
        ),
    ],
)
def test_a_damaged_ledger_does_not_start(tmp_path: Path, statement: str, message: str) -> None:
    signed_ledger(tmp_path)
    tamper(tmp_path, statement)

    with pytest.raises(DamagedLogError, match=message):
        start(tmp_path)


def test_a_ledger_signed_with_another_key_does_not_start(tmp_path: Path) -> None:
    signed_ledger(tmp_path)
    key = SignerKey(name=SIGNER_KEY.name, public=OTHER.public)

    with (
        ledger_at(tmp_path) as (_, recorder),
        pytest.raises(DamagedLogError, match="no good signature"),
    ):
        MerkleLog(recorder, origin=key.name, key=key, sign=OTHER.sign, check=check_signature)


def test_a_head_is_signed_every_so_many_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "CHECKPOINT_EVENTS", 4)
    with ledger_at() as (ledger, recorder):
        grow(ledger, merkle_log(recorder), 10)

        assert [size for size, _ in recorder.checkpoints()] == [4, 8]


async def test_every_event_is_proven_under_one_head() -> None:
    with ledger_at() as (ledger, recorder):
        log = merkle_log(recorder)
        grow(ledger, log, 7)

        evidence = await log.prove(range(1, 8))

        head = open_checkpoint(evidence.checkpoint, key=SIGNER_KEY, check=check_signature)
        assert (head.origin, head.size, evidence.size) == (SIGNER_KEY.name, 7, 7)
        assert evidence.signer == SIGNER_KEY.text
        assert recorder.checkpoint(7) == evidence.checkpoint
        for record in recorder.scan():
            assert verify_inclusion(
                leaf_hash(record.leaf),
                index=record.position - 1,
                size=head.size,
                proof=evidence.proofs[record.position],
                root=head.root,
            )


@pytest.mark.parametrize("position", [0, 8])
async def test_a_position_the_log_does_not_have_is_not_proven(position: int) -> None:
    with ledger_at() as (ledger, recorder):
        log = merkle_log(recorder)
        grow(ledger, log, 7)

        with pytest.raises(ValueError, match="is not in a tree of 7"):
            await log.prove([position])
