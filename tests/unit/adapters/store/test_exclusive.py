from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from adapters.store.exclusive import FolderInUseError, held, joined, slot, turn

HOLD = """
import sys
import threading
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


def test_those_who_join_share_a_folder_that_nobody_can_hold(tmp_path: Path) -> None:
    with joined(tmp_path), joined(tmp_path), pytest.raises(FolderInUseError), held(tmp_path):
        raise AssertionError("held beside those who joined")

    with held(tmp_path), pytest.raises(FolderInUseError), joined(tmp_path):
        raise AssertionError("joined a folder that is held")


def test_each_process_has_a_slot_of_its_own_and_leaves_it_to_the_next(tmp_path: Path) -> None:
    with slot(tmp_path) as first:
        with slot(tmp_path) as second:
            assert (first, second) == (1, 2)

        with slot(tmp_path) as again:
            assert again == 2


def test_who_makes_what_all_share_waits_for_its_turn(tmp_path: Path) -> None:
    made: list[str] = []

    def make(name: str) -> None:
        with turn(tmp_path):
            if not made:
                made.append(name)

    with turn(tmp_path):
        waiting = threading.Thread(target=make, args=("second",))
        waiting.start()
        made.append("first")
    waiting.join(timeout=10)

    assert made == ["first"]
