from __future__ import annotations

import subprocess
import sys

# A process of its own: a mistake here would end it, and this one with it.
TOWER = """
import json
from adapters import __main__ as program
import adapters.bootstrap
try:
    program.main(["verify", "--help"])
except SystemExit:
    pass
program.main(["verify", "no-such-file"])
import eth_account
try:
    json.loads("[" * 1_000_000)
except RecursionError:
    print("refused")
"""


def test_a_tower_of_brackets_is_refused_and_ends_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TOWER], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.stdout.splitlines()[-1:] == ["refused"], done.stderr
