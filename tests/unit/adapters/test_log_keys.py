"""The keys of a log through changes that die at any step."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from adapters import log_keys as module
from adapters.keys import KeyFileError, check_signature
from adapters.log_keys import LogKeys, load_log_keys, parse_rotations, rotate_log_key
from domain.checkpoint import Checkpoint, parse_keys
from domain.rotation import follow

HEAD = Checkpoint(origin="gateway.test", size=7, root=bytes(32))


class PowerCutError(Exception):
    """The process ends here."""


def loaded(folder: Path) -> LogKeys:
    return load_log_keys(folder, name="gateway.test")


def rotated(folder: Path) -> LogKeys:
    return rotate_log_key(folder, loaded(folder), head=HEAD)


@contextmanager
def power_cut(monkeypatch: pytest.MonkeyPatch, after: int) -> Iterator[None]:
    """Die when the folder was changed so many times."""
    moves = 0
    real = Path.replace, os.link

    def counted() -> None:
        nonlocal moves
        moves += 1
        if moves > after:
            raise PowerCutError

    def replace(self: Path, target: Path) -> Path:
        counted()
        return real[0](self, target)

    def link(source: Path, target: Path) -> None:
        counted()
        real[1](source, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", replace)
        patched.setattr(os, "link", link)
        yield


def test_a_first_use_makes_a_key_and_publishes_it(tmp_path: Path) -> None:
    keys = loaded(tmp_path)

    assert (keys.key.name, keys.former, keys.rotations) == ("gateway.test", (), ())
    assert parse_keys((tmp_path / "log.pub").read_text()) == (keys.key,)
    assert loaded(tmp_path).key == keys.key


def test_the_log_keeps_its_name_when_the_gateway_moves(tmp_path: Path) -> None:
    loaded(tmp_path)

    assert load_log_keys(tmp_path, name="elsewhere.test").key.name == "gateway.test"


def test_a_new_key_signs_and_the_former_is_known(tmp_path: Path) -> None:
    old = loaded(tmp_path)

    new = rotated(tmp_path)

    assert loaded(tmp_path).key == new.key != old.key
    assert loaded(tmp_path).former == (old.key,)
    assert (new.since(new.key), new.since(old.key)) == (7, 0)
    assert check_signature(new.key.public, b"x", loaded(tmp_path).sign(b"x"))


def test_the_former_secret_is_not_kept(tmp_path: Path) -> None:
    loaded(tmp_path)
    secret = (tmp_path / "log.key").read_text()

    rotated(tmp_path)

    assert all(secret not in path.read_text() for path in tmp_path.iterdir())


def test_who_trusts_the_first_key_can_follow_two_changes(tmp_path: Path) -> None:
    first = loaded(tmp_path).key
    rotated(tmp_path)

    last = rotated(tmp_path)

    assert follow(last.rotations, trusted=[first], check=check_signature) == last.all
    assert len(last.all) == 3


@pytest.mark.parametrize("after", range(5))
def test_a_change_that_dies_anywhere_leaves_one_key_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    old = loaded(tmp_path)
    with power_cut(monkeypatch, after):
        died = True
        try:
            rotated(tmp_path)
            died = False
        except PowerCutError:
            pass

    found = loaded(tmp_path)
    # The third change of the folder is the decision: the new key is on the list.
    assert (found.key != old.key) == (after >= 3)
    assert found.is_resumed == (after == 3)
    assert died == (after < 4)
    assert check_signature(found.key.public, b"x", found.sign(b"x"))
    again = found if after >= 3 else rotated(tmp_path)
    assert follow(again.rotations, trusted=[old.key], check=check_signature) == again.all
    assert len(again.all) == 2
    assert list(tmp_path.glob("*.n*")) == []


def test_a_secret_that_is_none_of_the_listed_is_refused(tmp_path: Path) -> None:
    loaded(tmp_path)
    (tmp_path / "log.key").unlink()

    with pytest.raises(KeyFileError, match=r"log\.pub names another key than log\.key holds"):
        loaded(tmp_path)


def test_a_list_that_is_gone_after_a_change_is_asked_for(tmp_path: Path) -> None:
    loaded(tmp_path)
    rotated(tmp_path)
    (tmp_path / "log.pub").unlink()

    with pytest.raises(KeyFileError, match=r"log\.pub is missing"):
        loaded(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (module.PUBLIC, "gateway.test+00"),
        (module.ROTATIONS, "no JSON"),
        (module.ROTATIONS, '["no note"]'),
        (module.ROTATIONS, "{}"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, text: str) -> None:
    loaded(tmp_path)
    (tmp_path / name).write_text(text)

    with pytest.raises(KeyFileError, match=f"{name} cannot be read"):
        loaded(tmp_path)


def test_a_forged_change_in_the_folder_does_not_start(tmp_path: Path) -> None:
    loaded(tmp_path)
    rotated(tmp_path)
    path = tmp_path / "log.rotations"
    path.write_text(path.read_text().replace("size 7", "size 6"))

    with pytest.raises(KeyFileError, match="not signed by"):
        loaded(tmp_path)


def test_changes_are_read_from_what_a_gateway_says_of_itself() -> None:
    assert parse_rotations('{"log": {"rotations": ["a"]}}') == ("a",)


@pytest.mark.parametrize("text", ["[1]", '{"log": []}', "3", "{"])
def test_other_json_holds_no_changes(text: str) -> None:
    with pytest.raises(ValueError, match=r"log\.rotations|Expecting"):
        parse_rotations(text)
