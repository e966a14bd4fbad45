"""`payphone serve` where it cannot start: a reason and an exit code, never a trace."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.e2e.conftest import ROOT, GatewayProcess


def serve(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "adapters", "serve", "--sandbox", "--no-fetch", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_folder_in_use_is_refused(gateway: GatewayProcess) -> None:
    done = serve("--port", "0", "--data", str(gateway.data))

    assert done.returncode == 1
    assert f"in use by process {gateway.process.pid}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_refused(gateway: GatewayProcess, tmp_path: Path) -> None:
    port = gateway.url.rpartition(":")[2]

    done = serve("--port", port, "--data", str(tmp_path))

    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    key = tmp_path / "log.key"
    key.write_text("00" * 32)
    key.chmod(0o644)

    done = serve("--port", "0", "--data", str(tmp_path))

    assert done.returncode == 1
    assert "chmod 600" in done.stderr
    assert "Traceback" not in done.stderr
