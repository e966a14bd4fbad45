"""The machine that plays Solana damages the floating point of the thread it runs on, and no other.

In a process of its own: numpy keeps what it computed with a damaged thread for ever.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[4]
PROGRAM = """
import numpy
from tests.fakes.solana_sandbox import SolanaSandbox

SolanaSandbox()
print(numpy.isnan(numpy.fft.rfft(numpy.ones(467))).any(), numpy.longdouble(1) / numpy.longdouble(2))
"""


def test_who_pays_on_solana_still_hears_in_the_same_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert done.stdout.split() == ["False", "0.5"]
