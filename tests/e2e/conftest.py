"""A gateway in a process of its own, and Node with the real clients beside it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.clients import NODE_SOURCES, ROOT, node_modules, node_tool
from tests.fakes.anvil import anvil_path

START_TIMEOUT_S = 90
# All tests come from one address and some from one wallet; limits are tested where they are made.
UNHURRIED = {"PAYPHONE_API_RATE_MAX": "1000", "PAYPHONE_IP_RATE_MAX": "100000"}


@dataclass
class GatewayProcess:
    """A running command of ours that listens, as a rule `payphone serve --sandbox`."""

    process: subprocess.Popen[bytes]
    ready: dict[str, Any]
    data: Path

    @property
    def url(self) -> str:
        return str(self.ready["url"])

    @property
    def secret_key(self) -> str:
        return str(self.ready["sandbox"]["evm_private_key"])

    def kill(self) -> None:
        """As a crash does it: no handler runs, nothing is flushed."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)


StartGateway = Callable[..., GatewayProcess]


def start_gateway(
    data: Path, *faults: str, name: str = "", role: str = "serve", port: int = 0, **environ: str
) -> GatewayProcess:
    """Start one on a free port and wait until it says that it listens.

    Several on one folder need a name each. A `role` of `gateway` has no speech of its own.
    """
    words = [
        *(["--no-fetch"] if role == "serve" else []),
        *(f"--fault={fault}" for fault in faults),
    ]
    return start_process(data, role, "--sandbox", *words, name=name, port=port, **environ)


def start_process(
    data: Path, command: str, *words: str, name: str = "", port: int = 0, **environ: str
) -> GatewayProcess:
    """Start a command that listens, on a free port or this one, and wait for its ready file."""
    data.mkdir(parents=True, exist_ok=True)
    ready_file, said = data / f"ready{name}.json", data / f"output{name}.log"
    ready_file.unlink(missing_ok=True)
    with said.open("ab") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "adapters", command, *words),
                *("--port", str(port), "--data", str(data), "--ready-file", str(ready_file)),
            ],
            cwd=ROOT,
            env={**os.environ, "PATH": _path(), **UNHURRIED, **environ},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    deadline = time.monotonic() + START_TIMEOUT_S
    while not ready_file.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"payphone {command} did not start:\n{said.read_text()[-4000:]}")
        _wait_ms(process, 50)
    return GatewayProcess(process, json.loads(ready_file.read_text()), data)


def _path() -> str:
    """With anvil on it, where npm installed it: the sandbox plays every chain then."""
    node_modules()
    return anvil_path()


def _wait_ms(process: subprocess.Popen[bytes], duration_ms: int) -> None:
    """Pass time, or return at once when the process ends."""
    try:
        process.wait(timeout=duration_ms / 1_000)
    except subprocess.TimeoutExpired:
        return


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartGateway]:
    """Start gateways over one data folder; whatever still runs is ended."""
    started: list[GatewayProcess] = []

    def begin(*faults: str, **environ: str) -> GatewayProcess:
        gateway = start_gateway(tmp_path / "data", *faults, **environ)
        started.append(gateway)
        return gateway

    yield begin
    for gateway in started:
        if gateway.process.poll() is None:
            gateway.kill()


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """One gateway for every test that leaves it as it was for the next."""
    running = start_gateway(
        tmp_path_factory.mktemp("gateway") / "data", PAYPHONE_SESSIONS_MAX="100"
    )
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="session")
def node() -> Callable[..., str]:
    """Run one of our scripts under Node with the real clients installed."""
    modules = node_modules()

    def run(script: str, *arguments: str, timeout_s: int = 120) -> str:
        for source in NODE_SOURCES.glob("*.mjs"):
            shutil.copy(source, modules / source.name)
        return node_tool("node", script, *arguments, cwd=modules, timeout_s=timeout_s)

    return run
