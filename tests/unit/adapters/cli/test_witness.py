"""What keeps a witness from starting."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.__main__ import main
from adapters.cli.witness import opened
from adapters.store.exclusive import held
from tests.fakes.log import SIGNER_KEY


def started(folder: Path, key: str = SIGNER_KEY.text) -> int:
    return main(["witness", "--data", str(folder), "--origin-key", key, "--port", "0"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """That of a witness which ran before."""
    with opened(tmp_path, "witness.test", (SIGNER_KEY,)):
        return tmp_path


def test_a_witness_keeps_the_key_and_the_name_it_began_with(folder: Path) -> None:
    with opened(folder, "witness.test", (SIGNER_KEY,)) as first:
        pass
    with opened(folder, "other.test", (SIGNER_KEY,)) as second:
        pass

    assert first.key == second.key
    assert second.key.name == "witness.test"


def test_a_witness_that_lost_its_memory_does_not_go_on_with_its_key(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "witness.db").unlink()

    assert started(folder) == 1
    assert "without it this key could sign two histories" in capsys.readouterr().err


def test_a_witness_whose_key_was_exchanged_does_not_start(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "witness.key").unlink()

    assert started(folder) == 1
    assert "names another key than witness.key holds" in capsys.readouterr().err


def test_one_witness_a_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with held(folder):
        assert started(folder) == 1

    assert "is in use by process" in capsys.readouterr().err


def test_a_log_key_that_is_none_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert started(folder, "gateway.test+00") == 1
    assert "expected a verifier key" in capsys.readouterr().err


def test_a_memory_that_is_damaged_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in folder.glob("witness.db*"):
        path.write_bytes(b"no database at all, but long enough to be one" * 90)

    assert started(folder) == 1
    assert "cannot start: file is not a database" in capsys.readouterr().err
