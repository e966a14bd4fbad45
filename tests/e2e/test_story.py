"""`payphone demo` as a newcomer runs it."""

from __future__ import annotations

import subprocess
import sys
import wave
from pathlib import Path

from tests.e2e.conftest import ROOT


def test_the_demo_ends_in_verified(tmp_path: Path) -> None:
    speech = tmp_path / "speech.wav"

    done = subprocess.run(
        [sys.executable, "-m", "adapters", "demo", "--wav", str(speech)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )

    print(done.stdout)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().splitlines()[-1].startswith("VERIFIED")
    assert "NOT VERIFIED statement.totals" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    with wave.open(str(speech)) as file:
        assert file.getframerate() == 48_000
        assert file.getnframes() > 48_000
