"""An archive holds when the ledger does, and its first break is the ledger's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.keys import Ed25519Signer, check_signature
from adapters.store.audit import audit, bills
from domain.archive_audit import ArchiveVerdict, audit_archive
from domain.breaks import BrokenHistoryError
from domain.checkpoint import SignerKey
from domain.cosignature import WitnessKey, cosigned
from domain.record import Record
from tests.fakes.archive import WIDTH, MemoryArchive, heads_over
from tests.fakes.busy import Busy
from tests.fakes.log import SIGNER_KEY
from tests.fakes.stored import retold

# Throwaway: 32 bytes of 0x09, and of 0x0c.
FORGER = Ed25519Signer(b"\x09" * 32)
FORGER_KEY = SignerKey(name=SIGNER_KEY.name, public=FORGER.public)
WITNESS = Ed25519Signer(b"\x0c" * 32)
WITNESS_KEY = WitnessKey(name="witness.test", public=WITNESS.public)
RECORDS = tuple(Busy(accounts=3, overlap=4).records(100))
SIZE = len(RECORDS)
HEADS = heads_over(RECORDS, [0, 1, 7, 8, 9, 50, SIZE])


def index_of(topic: str, *, after: int = 0) -> int:
    return next(i for i, r in enumerate(RECORDS) if r.topic == topic and i >= after)


def verdict(
    records: Sequence[Record],
    heads: Sequence[tuple[int, str]] = HEADS,
    *,
    trusted: SignerKey = SIGNER_KEY,
    known: Sequence[tuple[int, str]] = (),
    witnesses: Sequence[WitnessKey] = (),
) -> ArchiveVerdict:
    return of_leaves(
        [r.leaf for r in records], heads, trusted=trusted, known=known, witnesses=witnesses
    )


def of_leaves(
    leaves: Sequence[bytes],
    heads: Sequence[tuple[int, str]] = HEADS,
    *,
    trusted: SignerKey = SIGNER_KEY,
    known: Sequence[tuple[int, str]] = (),
    witnesses: Sequence[WitnessKey] = (),
) -> ArchiveVerdict:
    return audit_archive(
        MemoryArchive(leaves=leaves, signed=heads),
        keys=[trusted],
        check=check_signature,
        known_heads=known,
        witnesses=witnesses,
        progress=lambda _: None,
    )


def told(index: int, **fields: object) -> list[Record]:
    """The history with one event told differently."""
    records = list(RECORDS)
    records[index] = retold(records[index], **fields)
    return records


@given(st.integers(1, 200), st.integers(1, 9), st.integers(0, 20), st.sampled_from([1, 2]))
def test_an_archive_says_what_a_replay_says(
    events: int, accounts: int, overlap: int, class_version: int
) -> None:
    busy = Busy(accounts=accounts, overlap=overlap, class_version=class_version)
    records = list(busy.records(events))
    heads = heads_over(records, sorted({1, len(records) // 2 or 1, len(records)}))

    found = verdict(records, heads)

    replayed = audit(
        records, checkpoints=heads, key=SIGNER_KEY, check=check_signature, progress=lambda _: None
    )
    assert found.root == replayed.root
    assert (found.history.events, found.history.heads) == (len(records), replayed.checkpoints)
    assert found.history.bills == sum(1 for _ in bills(records, replayed.aggregates))
    assert found.history.by_kind() | replayed.books.by_kind() == found.history.by_kind()
    assert found.history.total == replayed.books.total == 0
    assert found.history.signers == {SIGNER_KEY.text: len(heads)}


def test_progress_ends_with_the_whole() -> None:
    heard: list[int] = []

    audit_archive(
        MemoryArchive(leaves=[r.leaf for r in RECORDS], signed=HEADS),
        keys=[SIGNER_KEY],
        check=check_signature,
        progress=heard.append,
    )

    assert heard == [*range(WIDTH, SIZE, WIDTH), SIZE]


BOUGHT = index_of("account.credits_purchased")
BUYER = RECORDS[BOUGHT].originator_id
SHORT = next(
    i
    for i, r in enumerate(RECORDS)
    if r.topic == "account.credits_reserved" and r.originator_id == BUYER
)
PAUSED = index_of("session.clock_paused", after=40)
SESSION = RECORDS[PAUSED].originator_id
OPENED, _, _, _, CLOSED = (i for i, r in enumerate(RECORDS) if r.originator_id == SESSION)
HELD, SETTLED = OPENED - 1, CLOSED + 1


@pytest.mark.parametrize(
    ("records", "position", "kind"),
    [
        pytest.param(
            RECORDS[:PAUSED] + RECORDS[PAUSED + 1 :], PAUSED + 1, "version", id="left out"
        ),
        pytest.param(RECORDS[1:], 14, "price book", id="left out at the start"),
        pytest.param(RECORDS[:41] + RECORDS[40:], 42, "version of session", id="told twice"),
        pytest.param(
            (*RECORDS[:60], RECORDS[CLOSED], *RECORDS[60:]), 61, "version", id="put in elsewhere"
        ),
        pytest.param(
            (*RECORDS[:CLOSED], RECORDS[SETTLED], RECORDS[CLOSED], *RECORDS[SETTLED + 1 :]),
            SIZE,
            "signed head",
            id="two that commute, changed over",
        ),
        pytest.param(RECORDS[:WIDTH] + RECORDS[2 * WIDTH :], 12, "version", id="a segment gone"),
        pytest.param(told(BOUGHT, amount=5), SHORT + 1, "books", id="less was bought"),
        pytest.param(told(BOUGHT, amount=10**9 + 1), SIZE, "signed head", id="more was bought"),
        pytest.param(
            told(HELD, amount=5_999),
            SETTLED + 1,
            f"bill of session {SESSION}: reserved by the account",
            id="less was reserved",
        ),
        pytest.param(
            told(PAUSED, used_ms=1),
            SETTLED + 1,
            f"bill of session {SESSION}: used at position {PAUSED + 1}",
            id="less was used",
        ),
        pytest.param(
            told(CLOSED, charged=1),
            SETTLED + 1,
            f"bill of session {SESSION}: charged",
            id="less was charged",
        ),
        pytest.param(
            told(OPENED, rate_microcredits=1),
            SETTLED + 1,
            f"bill of session {SESSION}: rate",
            id="another rate",
        ),
        pytest.param(told(0, content="{}"), 1, "price book", id="no price book"),
        pytest.param(told(0, content_hash="00"), 1, "price book 2026-1", id="another book's hash"),
        pytest.param(told(HELD, amount=-1), HELD + 1, "content", id="a negative amount"),
        pytest.param(told(HELD, amount="6000"), HELD + 1, "content", id="text for an amount"),
        pytest.param(
            [replace(r, topic="account.minted") if i == HELD else r for i, r in enumerate(RECORDS)],
            HELD + 1,
            "newer event",
            id="a topic of a later version",
        ),
        pytest.param(told(HELD, class_version=3), HELD + 1, "newer event", id="a later version"),
        pytest.param(told(HELD, class_version=1), HELD + 1, "postings", id="an earlier version"),
        pytest.param(told(HELD, postings=[]), HELD + 1, "postings", id="nothing moved"),
        pytest.param(
            told(HELD, postings=[*RECORDS[HELD].fields["postings"], []]),
            HELD + 1,
            "postings",
            id="a posting of nothing",
        ),
        pytest.param(told(BOUGHT, postings=[]), BOUGHT + 1, "postings", id="no money came in"),
        pytest.param(
            told(SETTLED, postings=RECORDS[SETTLED].fields["postings"][::-1]),
            SETTLED + 1,
            "postings",
            id="another order",
        ),
        pytest.param(
            [
                replace(r, originator_id=UUID(int=77)) if i == OPENED else r
                for i, r in enumerate(RECORDS)
            ],
            PAUSED - 1,
            "version of session",
            id="another session's opening",
        ),
        pytest.param(
            [
                retold(replace(r, originator_id=SESSION)) if i == SHORT else r
                for i, r in enumerate(RECORDS)
            ],
            SHORT + 1,
            f"version of account {SESSION}",
            id="an account's event for a session",
        ),
        pytest.param(RECORDS[:-1], SIZE, "truncated", id="cut short"),
        pytest.param(RECORDS[: 2 * WIDTH], 2 * WIDTH + 1, "truncated", id="cut at a segment"),
    ],
)
def test_the_first_break_is_named(records: Sequence[Record], position: int, kind: str) -> None:
    with pytest.raises(BrokenHistoryError) as broken:
        verdict(records, HEADS[-1:])

    assert broken.value.kind.startswith(kind)
    assert broken.value.position == position
    assert str(broken.value).startswith(f"position {position}: {broken.value.kind}: expected ")


@given(st.integers(0, SIZE - 1), st.data())
def test_no_byte_of_a_history_can_change(index: int, data: st.DataObject) -> None:
    leaves = [r.leaf for r in RECORDS]
    at = data.draw(st.integers(0, len(leaves[index]) - 1))
    flip = data.draw(st.integers(1, 255))
    leaf = leaves[index]
    leaves[index] = leaf[:at] + bytes([leaf[at] ^ flip]) + leaf[at + 1 :]

    with pytest.raises(BrokenHistoryError) as broken:
        of_leaves(leaves)

    # Never before the change; at most at the first signed head after it.
    assert index + 1 <= broken.value.position <= next(s for s, _ in HEADS if s > index)


def test_a_history_that_was_cut_with_its_heads_is_found_by_one_kept_outside() -> None:
    shorter, heads = RECORDS[:50], HEADS[:-1]
    assert verdict(shorter, heads).history.events == 50

    with pytest.raises(BrokenHistoryError, match=f"position 51: truncated: expected {SIZE} events"):
        verdict(shorter, heads, known=HEADS[-1:])


def test_a_history_that_was_signed_anew_is_found_by_a_head_kept_outside() -> None:
    edited = told(BOUGHT, amount=10**9 + 1)
    heads = heads_over(edited, [SIZE])
    assert verdict(edited, heads).history.events == SIZE

    with pytest.raises(BrokenHistoryError, match="position 50: signed head: expected root"):
        verdict(edited, heads, known=[HEADS[-2]])


def test_a_history_signed_by_another_names_the_keys() -> None:
    heads = heads_over(RECORDS, [SIZE], key=FORGER_KEY, sign=FORGER.sign)

    with pytest.raises(BrokenHistoryError, match=f"position {SIZE}: wrong key: ") as broken:
        verdict(RECORDS, heads)
    assert FORGER_KEY.hint.hex() in str(broken.value.found)
    assert SIGNER_KEY.hint.hex() in str(broken.value.found)


def test_a_forged_signature_under_our_name_is_found() -> None:
    heads = heads_over(RECORDS, [SIZE], key=SIGNER_KEY, sign=FORGER.sign)

    with pytest.raises(BrokenHistoryError, match=f"position {SIZE}: signed head: "):
        verdict(RECORDS, heads)


def test_a_head_filed_under_another_size_is_found() -> None:
    with pytest.raises(BrokenHistoryError, match="position 9: signed head: expected size 9"):
        verdict(RECORDS, [(9, HEADS[2][1]), HEADS[-1]])


def test_heads_come_in_order() -> None:
    with pytest.raises(BrokenHistoryError, match="signed heads: expected a size of 9 or more"):
        verdict(RECORDS, [HEADS[4], HEADS[3], HEADS[-1]])


@pytest.mark.parametrize("heads", [[], HEADS[:-1]])
def test_everything_must_be_signed(heads: Sequence[tuple[int, str]]) -> None:
    signed = heads[-1][0] if heads else 0

    with pytest.raises(BrokenHistoryError, match=f"position {signed + 1}: signed head: "):
        verdict(RECORDS, heads)


def test_a_witness_that_is_demanded_must_have_seen_the_last_head() -> None:
    size, note = HEADS[-1]
    seen = [*HEADS[:-1], (size, cosigned(note, WITNESS_KEY, WITNESS.sign, at_s=1_700_000_000))]

    found = verdict(RECORDS, seen, witnesses=[WITNESS_KEY])

    assert [(c.witness.name, c.at_s) for c in found.cosignatures] == [
        ("witness.test", 1_700_000_000)
    ]
    with pytest.raises(BrokenHistoryError, match="witness: expected its good cosignature"):
        verdict(RECORDS, HEADS, witnesses=[WITNESS_KEY])
