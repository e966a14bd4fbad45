from __future__ import annotations

import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.keys import check_signature
from adapters.store.archive import ZipArchive, in_processes, is_archive, write_archive
from domain.archive import HEADS, MANIFEST, Manifest, segment_name
from domain.archive_audit import ArchiveVerdict, audit_archive
from domain.breaks import BrokenHistoryError
from tests.fakes.archive import heads_over
from tests.fakes.busy import Busy
from tests.fakes.log import SIGNER_KEY

RECORDS = tuple(Busy(accounts=3, overlap=4).records(100))
SIZE = len(RECORDS)
LAST = 96
FIRST, SECOND = segment_name(0), segment_name(1)


def written(path: Path) -> Path:
    write_archive(
        path,
        RECORDS,
        heads=heads_over(RECORDS, [9, LAST]),
        signers=[SIGNER_KEY],
        progress=lambda _: None,
        segment_events=16,
    )
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return written(tmp_path / "log.zip")


def verdict(path: Path) -> ArchiveVerdict:
    opened = ZipArchive(path)
    return audit_archive(
        opened, keys=opened.manifest.signers, check=check_signature, progress=lambda _: None
    )


def rewritten(path: Path, change: Callable[[dict[str, bytes]], None], kind: int = 8) -> None:
    """The archive with other members."""
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w", kind) as file:
        for name, data in members.items():
            file.writestr(name, data)


def test_an_archive_holds_everything_up_to_the_last_signed_head(archive: Path) -> None:
    found = verdict(archive)

    assert (found.history.events, found.history.heads) == (LAST, 2)
    assert ZipArchive(archive).manifest.segments[-1].first == 81
    assert is_archive(archive)


def test_the_same_history_is_the_same_file(archive: Path, tmp_path: Path) -> None:
    assert written(tmp_path / "again.zip").read_bytes() == archive.read_bytes()


def test_an_archive_that_was_packed_anew_still_holds(archive: Path) -> None:
    rewritten(archive, lambda _: None, kind=zipfile.ZIP_STORED)

    assert verdict(archive).history.events == LAST


def test_several_processes_find_what_one_finds(archive: Path) -> None:
    opened = ZipArchive(archive)

    found = audit_archive(
        opened,
        keys=[SIGNER_KEY],
        check=check_signature,
        run=in_processes,
        progress=lambda _: None,
    )

    assert found == verdict(archive)


def test_several_processes_stop_at_the_first_break(archive: Path) -> None:
    rewritten(archive, lambda m: m.update({SECOND: m[FIRST]}))

    with pytest.raises(BrokenHistoryError, match="position 17: "):
        audit_archive(
            ZipArchive(archive),
            keys=[SIGNER_KEY],
            check=check_signature,
            run=in_processes,
            progress=lambda _: None,
        )


def test_a_history_with_a_hole_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "log.zip"

    for records, match in (
        (RECORDS[:5] + RECORDS[6:], "position 6: gap: expected 6, found 7"),
        (RECORDS[:50], f"position 51: truncated: expected {LAST} events, found 50"),
    ):
        with pytest.raises(BrokenHistoryError, match=match):
            write_archive(
                path,
                records,
                heads=heads_over(RECORDS, [LAST]),
                signers=[SIGNER_KEY],
                progress=lambda _: None,
            )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop(MANIFEST), "file: expected manifest.json in the archive"),
        (lambda m: m.pop(HEADS), "file: expected heads.jsonl in the archive"),
        (lambda m: m.pop(SECOND), f"file: expected {SECOND} in the archive"),
        (lambda m: m.update({MANIFEST: b"{"}), "manifest: expected JSON"),
        (lambda m: m.update({MANIFEST: b"[" * 10**5}), "manifest: expected JSON, found over 32"),
        (lambda m: m.update({MANIFEST: b"[]"}), "format: expected payphone-archive-1"),
        (lambda m: edit(m, MANIFEST, b'"events": 96', b'"events": 95'), "events: expected 96"),
        (lambda m: edit(m, MANIFEST, b'"origin"', b'"origins"'), "manifest: expected .*'origin'"),
        (lambda m: edit(m, MANIFEST, b'"first": 17', b'"first": 18'), "segment 2: expected first"),
        (lambda m: edit(m, MANIFEST, b'"first": 17', b'"first": 17.0'), "manifest: expected every"),
        (lambda m: edit(m, MANIFEST, b'"segment_events": 16', b'"segment_events": 17'), "a power"),
        (lambda m: edit(m, MANIFEST, b"gateway.test+6", b"gateway.test+7"), "signers: expected"),
        (lambda m: edit(m, HEADS, b'"size":9', b'"size": 9'), "heads: expected a line with size"),
        (lambda m: edit(m, HEADS, b'"size":9', b'"size":10'), "position 10: signed head"),
        (lambda m: edit(m, HEADS, b"test\\n9", b"test\\n8"), "position 9: signed head"),
        (lambda m: m.update({HEADS: m[HEADS] + b"{}"}), "heads: expected a line with size"),
        (lambda m: m.update({HEADS: b""}), "position 1: signed head: expected one over all 96"),
        (lambda m: m.update({FIRST: m[FIRST][:-1]}), "segment 1 to 16: SHA-256"),
        (lambda m: m.update({FIRST: m[FIRST][:-9]}), "position 16: leaf"),
        (lambda m: m.update({FIRST: m[FIRST] + b"\n"}), "position 17: leaf"),
        (lambda m: m.update({FIRST: b""}), "position 1: segment 1 to 16: events"),
        (lambda m: m.update({SECOND: m[FIRST]}), "position 17: "),
        (lambda m: m.update({FIRST: m[SECOND], SECOND: m[FIRST]}), "position 2: version of"),
        (lambda m: edit(m, SECOND, b'"reserved":6000', b'"reserved":6001'), "17 to 32: SHA"),
        (
            lambda m: edit(m, FIRST, b'"amount":1000000000', b'"amount":1000000001'),
            "position 9: si",
        ),
    ],
)
def test_what_is_wrong_with_an_archive_is_named(
    archive: Path, change: Callable[[dict[str, bytes]], None], message: str
) -> None:
    rewritten(archive, change)

    with pytest.raises(BrokenHistoryError, match=message):
        verdict(archive)


def edit(members: dict[str, bytes], name: str, before: bytes, after: bytes) -> None:
    assert before in members[name]
    members[name] = members[name].replace(before, after, 1)


def test_a_damaged_file_is_found_wherever_the_damage_is(archive: Path) -> None:
    good, honest = archive.read_bytes(), verdict(archive)
    chance = random.Random(7)  # noqa: S311 (a test's flipped bits, the same each time)
    for _ in range(300):
        at = chance.randrange(len(good))
        archive.write_bytes(
            good[:at] + bytes([good[at] ^ 1 << chance.randrange(8)]) + good[at + 1 :]
        )
        try:
            found = verdict(archive)
        except BrokenHistoryError:
            continue
        # What it says of a file's date is no part of the history.
        assert found == honest


@pytest.mark.parametrize("length", [0, 1, 2, 30, 500, -1, -30])
def test_a_file_cut_short_is_no_archive(archive: Path, length: int) -> None:
    archive.write_bytes(archive.read_bytes()[:length])

    with pytest.raises(BrokenHistoryError):
        verdict(archive)


def test_a_manifest_reads_back_equal(archive: Path) -> None:
    manifest = ZipArchive(archive).manifest

    assert Manifest.parse(manifest.text.encode()) == manifest
