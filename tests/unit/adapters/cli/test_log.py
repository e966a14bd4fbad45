"""A log followed from outside, and its keys changed by the operator's hand."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from eventsourcing.persistence import StoredEvent

from adapters.__main__ import main
from adapters.cli.follow import Followed, follow_log
from adapters.keys import Ed25519Signer, check_signature
from adapters.log_keys import load_log_keys
from adapters.store.exclusive import held
from adapters.store.log import MerkleLog
from domain.breaks import BrokenHistoryError
from domain.checkpoint import Checkpoint, SignerKey, WrongKeyError, open_head
from domain.cosignature import cosigned
from domain.merkle import MerkleTree, leaf_hash
from domain.rotation import follow
from tests.fakes.busy import Busy
from tests.fakes.log import SIGNER, SIGNER_KEY
from tests.fakes.stored_house import ledger_at
from tests.fakes.witness import WITNESS, WITNESS_KEY

# Throwaway: 32 bytes of 0x0a.
OTHER = Ed25519Signer(b"\x0a" * 32)
LEAVES = tuple(b'{"n":%d}' % n for n in range(30))
RECORDS = tuple(Busy(accounts=2, overlap=2).records(40))


@dataclass
class Served:
    """What a gateway answers; `shown` are the entries it hands out, whatever it signed."""

    leaves: tuple[bytes, ...]
    shown: tuple[bytes, ...] | None = None
    signer: Ed25519Signer = SIGNER
    is_cosigned: bool = False
    asked: list[str] = field(default_factory=list)

    @property
    def tree(self) -> MerkleTree:
        tree = MerkleTree()
        for leaf in self.leaves:
            tree.append(leaf_hash(leaf))
        return tree

    @property
    def note(self) -> str:
        head = Checkpoint(origin=SIGNER_KEY.name, size=len(self.leaves), root=self.tree.root())
        key = SignerKey(name=SIGNER_KEY.name, public=self.signer.public)
        note = head.signed(key, self.signer.sign)
        return cosigned(note, WITNESS_KEY, WITNESS.sign, at_s=1) if self.is_cosigned else note

    def __call__(self, path: str) -> bytes:
        self.asked.append(path)
        parts = urlsplit(path)
        numbers = {name: int(value) for name, (value,) in parse_qs(parts.query).items()}
        match parts.path.rpartition("/")[2]:
            case "checkpoint":
                return self.note.encode()
            case "proof":
                proof = self.tree.consistency_proof(numbers["first"], numbers["second"])
                return json.dumps({"proof": [_text(line) for line in proof]}).encode()
            case _:
                entries = self.leaves if self.shown is None else self.shown
                first = numbers["start"] - 1
                return b"".join(e + b"\n" for e in entries[first : first + numbers["count"]])


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def followed(served: Served, kept: str | None, *, entries: bool = False) -> Followed:
    return follow_log(served, kept=kept, keys=[SIGNER_KEY], entries=entries)


KEPT = Served(LEAVES[:20]).note


def test_a_first_head_is_taken_and_a_later_one_continues_it() -> None:
    first = followed(Served(LEAVES[:20]), None)
    later = followed(Served(LEAVES), first.note, entries=True)

    assert (first.since, first.note) == (None, KEPT)
    assert (later.since, later.head.size) == (20, 30)


def test_a_log_that_stands_still_continues_itself() -> None:
    assert followed(Served(LEAVES[:20]), KEPT).since == 20


def test_any_log_continues_an_empty_one() -> None:
    assert followed(Served(LEAVES), Served(()).note).since == 0


SWAPPED = (*LEAVES[:3], LEAVES[4], LEAVES[3], *LEAVES[5:])
INSERTED = (*LEAVES[:3], b"{}", *LEAVES[3:])
EDITED = (*LEAVES[:3], b"{}", *LEAVES[4:])


@pytest.mark.parametrize(
    ("served", "position", "kind"),
    [
        pytest.param(Served(LEAVES[:19]), 20, "truncated", id="truncated"),
        pytest.param(Served(SWAPPED), 20, "another history", id="reordered"),
        pytest.param(Served(INSERTED), 20, "another history", id="inserted"),
        pytest.param(Served(EDITED), 20, "another history", id="edited"),
        pytest.param(Served(LEAVES[1:]), 20, "another history", id="left out"),
        pytest.param(Served(EDITED[:20]), 20, "another history", id="signed anew, as long"),
        pytest.param(Served(LEAVES, shown=SWAPPED), 30, "entries", id="others shown"),
        pytest.param(Served(LEAVES, shown=LEAVES[:25]), 26, "entries", id="fewer shown"),
    ],
)
def test_a_served_log_that_was_changed_is_named(served: Served, position: int, kind: str) -> None:
    with pytest.raises(BrokenHistoryError) as broken:
        followed(served, KEPT, entries=True)

    assert (broken.value.position, broken.value.kind) == (position, kind)


def test_a_log_signed_by_another_is_named() -> None:
    with pytest.raises(WrongKeyError, match="no good signature"):
        followed(Served(LEAVES, signer=OTHER), KEPT)


def test_a_witness_that_is_demanded_must_have_signed() -> None:
    demanded = {"keys": [SIGNER_KEY], "witnesses": [WITNESS_KEY]}
    good = follow_log(Served(LEAVES, is_cosigned=True), kept=KEPT, **demanded)  # type: ignore[arg-type]  # two lists

    assert good.since == 20
    with pytest.raises(BrokenHistoryError, match="30: witness: expected its good cosignature"):
        follow_log(Served(LEAVES), kept=KEPT, **demanded)  # type: ignore[arg-type]  # two lists


def test_a_gateway_that_is_not_there_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "kept"

    status = main(
        ["log", "follow", "http://127.0.0.1:9", "--kept", str(kept), "--key", SIGNER_KEY.text]
    )

    assert status == 2
    assert capsys.readouterr().err.startswith("cannot follow http://127.0.0.1:9: ")
    assert not kept.exists()


Say = Callable[..., str]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    def run(*arguments: object, status: int = 0) -> str:
        assert main([str(a) for a in arguments]) == status
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return " ".join((printed.out + printed.err).split())

    return run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A ledger with two signed heads under the folder's own key."""
    folder = tmp_path / "data"
    folder.mkdir()
    load_log_keys(folder, name="gateway.test")
    grow(folder, 0, 20)
    grow(folder, 20, 30)
    return folder


def grow(folder: Path, first: int, last: int) -> None:
    keys = load_log_keys(folder, name="")
    with ledger_at(folder) as (_, recorder):
        log = MerkleLog(
            recorder,
            origin=keys.key.name,
            key=keys.key,
            sign=keys.sign,
            check=check_signature,
            former=keys.former,
        )
        records = RECORDS[first:last]
        recorder.insert_events(
            [StoredEvent(r.originator_id, r.originator_version, r.topic, r.state) for r in records]
        )
        log.extend(records)
        log.checkpoint()


def heads(folder: Path) -> dict[int, str]:
    with ledger_at(folder) as (_, recorder):
        return dict(recorder.checkpoints())


def test_a_changed_key_signs_what_comes_after(data: Path, say: Say) -> None:
    old = load_log_keys(data, name="").key

    text = say("log", "rotate-key", "--data", data)
    new = load_log_keys(data, name="")
    grow(data, 30, len(RECORDS))

    assert "changed: from 30 events on" in text
    assert f"{new.key.text} since 30 {old.text} since 0" in say("log", "keys", "--data", data)
    kept = heads(data)
    assert open_head(kept[20], keys=[old], check=check_signature).signers == (old,)
    assert open_head(kept[30], keys=new.all, check=check_signature).signers == (old, new.key)
    assert open_head(kept[len(RECORDS)], keys=new.all, check=check_signature).signers == (new.key,)
    assert follow(new.rotations, trusted=[old], check=check_signature) == new.all
    verified = say("ledger", "verify", "--data", data)
    assert f"VERIFIED {len(RECORDS)} events, 3 signed heads" in verified
    assert f"signer {old.text}" in verified


def test_an_archive_over_a_change_of_key_verifies(data: Path, tmp_path: Path, say: Say) -> None:
    old = load_log_keys(data, name="").key
    say("log", "rotate-key", "--data", data)
    grow(data, 30, len(RECORDS))
    path = tmp_path / "log.zip"
    say("ledger", "export", "--data", data, "--out", path)
    trusted = ("--key", old.text)

    assert "VERIFIED" in say("verify", path, *trusted, "--rotations", data / "log.rotations")
    assert "wrong key" in say("verify", path, *trusted, status=1)


def test_a_change_cut_short_is_finished_and_no_other_begun(
    data: Path, monkeypatch: pytest.MonkeyPatch, say: Say
) -> None:
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if self.name == "log.key.next":
            raise OSError("the power went")
        return real(self, target)

    with monkeypatch.context() as cut:
        cut.setattr(Path, "replace", replace)
        assert "the power went" in say("log", "rotate-key", "--data", data, status=1)

    text = say("log", "rotate-key", "--data", data)

    assert "finished the change of key that was cut short" in text
    assert len(load_log_keys(data, name="").all) == 2
    grow(data, 30, len(RECORDS))
    assert "VERIFIED" in say("ledger", "verify", "--data", data)


def test_a_key_is_not_changed_under_a_running_gateway(data: Path, say: Say) -> None:
    with held(data):
        assert "is in use by process" in say("log", "rotate-key", "--data", data, status=1)

    assert len(load_log_keys(data, name="").all) == 1


def test_a_key_is_not_changed_over_a_damaged_log(data: Path, say: Say) -> None:
    with ledger_at(data) as (_, recorder):
        recorder.put_checkpoint(30, heads(data)[20])

    assert "cannot do it: the head kept for 30 events is over 20: edited" in say(
        "log", "rotate-key", "--data", data, status=1
    )
    assert len(load_log_keys(data, name="").all) == 1


@pytest.mark.parametrize("action", ["keys", "rotate-key"])
def test_a_folder_without_a_log_is_named(tmp_path: Path, say: Say, action: str) -> None:
    assert f"no log in {tmp_path}" in say("log", action, "--data", tmp_path, status=1)


def test_a_head_that_only_a_former_key_signed_after_its_time_is_named(data: Path, say: Say) -> None:
    """Somebody who took the former secret cannot go on with the log."""
    stolen = load_log_keys(data, name="")
    say("log", "rotate-key", "--data", data)
    grow(data, 30, len(RECORDS))
    tree = MerkleTree()
    for record in RECORDS:
        tree.append(leaf_hash(record.leaf))
    head = Checkpoint(origin="gateway.test", size=len(RECORDS), root=tree.root())
    with ledger_at(data) as (_, recorder):
        recorder.put_checkpoint(head.size, head.signed(stolen.key, stolen.sign))

    archive = data / "log.zip"
    say("ledger", "export", "--data", data, "--out", archive)

    stored = say("ledger", "verify", "--data", data, status=1)
    packed = say("verify", archive, "--rotations", data / "log.rotations", status=1)

    broken = f"position {len(RECORDS)}: retired key: expected a signature by"
    assert broken in stored
    assert broken in packed


def test_a_forged_change_of_key_is_named(data: Path, tmp_path: Path, say: Say) -> None:
    old = load_log_keys(data, name="").key
    say("log", "rotate-key", "--data", data)
    path = tmp_path / "log.zip"
    say("ledger", "export", "--data", data, "--out", path)
    forged = tmp_path / "forged"
    forged.write_text((data / "log.rotations").read_text().replace("size 30", "size 20"))

    text = say("verify", path, "--key", old.text, "--rotations", forged, status=1)

    assert "NOT VERIFIED this change of key is not signed by gateway.test" in text
    forged.write_text("{}")
    assert "expected a log.rotations" in say(
        "verify", path, "--key", old.text, "--rotations", forged, status=1
    )
