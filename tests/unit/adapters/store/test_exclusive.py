from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.store.exclusive import FolderInUseError, held

HOLD = """
import sys
from pathlib import Path
from adapters.store.exclusive import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_holder_is_told_who_has_it(tmp_path: Path) -> None:
    with held(tmp_path), pytest.raises(FolderInUseError, match=str(os.getpid())), held(tmp_path):
        raise AssertionError("two held one folder")


def test_a_folder_is_free_again_afterwards(tmp_path: Path) -> None:
    with held(tmp_path):
        pass

    with held(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_a_killed_holder_leaves_nothing_behind(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(FolderInUseError), held(tmp_path):
        raise AssertionError("two held one folder")

    holder.kill()
    holder.communicate()

    with held(tmp_path):
        pass
