from __future__ import annotations

import sqlite3
from pathlib import Path
from uuid import UUID

import pytest
from eventsourcing.persistence import StoredEvent

from adapters.keys import Ed25519Signer, check_signature
from adapters.store import log as log_module
from adapters.store.log import DamagedLogError, MerkleLog, NewerLogError
from adapters.store.sqlite import LedgerRecorder
from domain.account import Account
from domain.checkpoint import SignerKey, open_checkpoint, open_head, split_note
from domain.cosignature import cosignature, cosignatures
from domain.ledger import Ledger
from domain.merkle import EMPTY_ROOT, leaf_hash, verify_inclusion
from tests.fakes.log import SIGNER_KEY
from tests.fakes.stored_house import ledger_at, merkle_log
from tests.fakes.witness import WITNESS, WITNESS_KEY

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


@pytest.mark.parametrize(
    ("topic", "state", "message"),
    [
        ("account.later", b"{}", "position 10: unknown event 'account.later': written by a newer"),
        (
            "account.credits_reserved",
            b'{"class_version":7}',
            r"position 10: account\.credits_reserved in version 7: .* knows version 2",
        ),
    ],
)
def test_a_ledger_a_newer_release_wrote_to_does_not_start(
    tmp_path: Path, topic: str, state: bytes, message: str
) -> None:
    signed_ledger(tmp_path)
    with ledger_at(tmp_path) as (_, recorder):
        recorder.insert_events([StoredEvent(UUID(int=99), 1, topic, state)])

    with pytest.raises(NewerLogError, match=message):
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


def log_under(recorder: LedgerRecorder, *former: SignerKey) -> MerkleLog:
    """The recorder's log as it goes on under another key."""
    key = SignerKey(name=SIGNER_KEY.name, public=OTHER.public)
    return MerkleLog(
        recorder,
        origin=key.name,
        key=key,
        sign=OTHER.sign,
        check=check_signature,
        former=former,
    )


async def test_a_log_that_changed_its_key_proves_under_the_key_it_names(tmp_path: Path) -> None:
    signed_ledger(tmp_path)

    with ledger_at(tmp_path) as (_, recorder):
        evidence = await log_under(recorder, SIGNER_KEY).prove([3])

    named = SignerKey.parse(evidence.signer)
    assert named.public == OTHER.public
    # The head was there, under the former key alone; now it has both signatures.
    head = open_head(evidence.checkpoint, keys=[named, SIGNER_KEY], check=check_signature)
    assert head.signers == (SIGNER_KEY, named)


def test_a_head_kept_under_another_size_does_not_start(tmp_path: Path) -> None:
    signed_ledger(tmp_path)
    tamper(tmp_path, "UPDATE checkpoints SET size = 8")

    with pytest.raises(DamagedLogError, match="the head kept for 8 events is over 9: edited"):
        start(tmp_path)


def test_a_head_that_was_exchanged_while_running_is_not_given_out() -> None:
    with ledger_at() as (ledger, recorder):
        log = merkle_log(recorder)
        grow(ledger, log, 7)
        first = log.checkpoint()[1]
        grow(ledger, log, 1)
        recorder.put_checkpoint(8, first)

        with pytest.raises(DamagedLogError, match="the head kept for 8 events"):
            log.checkpoint()


def test_every_new_head_is_told_once() -> None:
    told: list[int] = []
    with ledger_at() as (ledger, recorder):
        log = merkle_log(recorder)
        log.when_signed(lambda: told.append(log.size))

        for events in (3, 0, 2):
            grow(ledger, log, events)
            log.checkpoint()

    assert told == [3, 5]


def witnessed(log: MerkleLog) -> int:
    """Have the newest head cosigned; its size."""
    size, note = log.checkpoint()
    body = split_note(note)[0]
    log.cosign(size, [cosignature(body, WITNESS_KEY, WITNESS.sign, at_s=1)])
    return size


async def test_a_bill_is_proven_under_the_head_that_witnesses_saw() -> None:
    with ledger_at() as (ledger, recorder):
        log = merkle_log(recorder)
        grow(ledger, log, 5)
        witnessed(log)
        grow(ledger, log, 5)

        covered, later = await log.prove([2, 5]), await log.prove([2, 6])

        assert (covered.size, later.size) == (5, 10)
        assert covered.checkpoint == recorder.checkpoint(5) == await log.cosigned()
        assert cosignatures(covered.checkpoint, witnesses=[WITNESS_KEY], check=check_signature)
        # Whoever asks for the head gets the newest.
        assert (await log.prove([])).size == 10


async def test_what_witnesses_saw_is_known_after_a_start(tmp_path: Path) -> None:
    with ledger_at(tmp_path) as (ledger, recorder):
        log = merkle_log(recorder)
        grow(ledger, log, 5)
        witnessed(log)
        grow(ledger, log, 5)
        log.checkpoint()

    with ledger_at(tmp_path) as (_, recorder):
        assert await merkle_log(recorder).cosigned() == recorder.checkpoint(5)


async def test_a_log_without_witnesses_has_no_such_head() -> None:
    with ledger_at() as (ledger, recorder):
        log = merkle_log(recorder)
        grow(ledger, log, 5)
        log.checkpoint()

        assert await log.cosigned() is None


async def test_a_witnesses_later_line_takes_the_place_of_its_earlier_one() -> None:
    with ledger_at() as (ledger, recorder):
        log = merkle_log(recorder)
        grow(ledger, log, 5)
        witnessed(log)
        witnessed(log)

        note = recorder.checkpoint(5) or ""

    assert len(split_note(note)[1]) == 2
