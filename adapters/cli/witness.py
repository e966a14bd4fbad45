"""`payphone witness`: cosign the heads of logs, so that none can show two histories."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from aiohttp import web

from adapters.cli.evidence import read_keys, read_rotations
from adapters.keys import Ed25519Signer, KeyFileError, check_signature, load_or_create_seed
from adapters.log import configure
from adapters.store.exclusive import FolderInUseError, held
from adapters.witness.memory import WitnessMemory
from adapters.witness.server import WitnessRoutes
from adapters.witness.witness import Witness
from domain.checkpoint import CheckpointError, SignerKey
from domain.cosignature import WitnessKey
from domain.rotation import follow

SECRET = "witness.key"  # noqa: S105 (a file's name)
PUBLIC = "witness.pub"
MEMORY = "witness.db"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("witness", help="cosign the heads of logs, for anybody to demand")
    parser.add_argument("--data", type=Path, default=Path("witness-data"), help="data folder")
    parser.add_argument("--name", default="payphone-witness", help="name to sign under, kept")
    parser.add_argument(
        "--origin-key",
        action="append",
        required=True,
        metavar="KEY",
        help="public key of a log to watch, or a file of them; again for each",
    )
    parser.add_argument(
        "--rotations",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="follow changes of key: a log.rotations, or the JSON of /.well-known/payphone",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8403, help="0 lets the system choose")
    parser.add_argument("--ready-file", type=Path, help="written as JSON once it listens")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    configure("info")
    try:
        logs = follow(
            read_rotations(options.rotations),
            trusted=read_keys(options.origin_key),
            check=check_signature,
        )
        with held(options.data), opened(options.data, options.name, logs) as witness:
            asyncio.run(_serve(witness, options))
    except (CheckpointError, KeyFileError, FolderInUseError, OSError, sqlite3.Error) as problem:
        print(f"cannot start: {problem}", file=sys.stderr)
        return 1
    return 0


@contextmanager
def opened(folder: Path, name: str, logs: tuple[SignerKey, ...]) -> Iterator[Witness]:
    """The witness of this folder, made on first use."""
    if (folder / SECRET).exists() and not (folder / MEMORY).exists():
        msg = (
            f"{folder / MEMORY} is gone: without it this key could sign two histories; "
            "restore it, or begin with a new key under a new name"
        )
        raise KeyFileError(msg)
    # The memory first: a key without one is refused above.
    with closing(WitnessMemory(folder / MEMORY)) as memory:
        signer = Ed25519Signer(load_or_create_seed(folder / SECRET))
        key = _published(folder / PUBLIC, WitnessKey(name=name, public=signer.public))
        yield Witness(
            memory,
            key=key,
            sign=signer.sign,
            check=check_signature,
            logs=logs,
            now_s=lambda: int(time.time()),
        )


def _published(path: Path, key: WitnessKey) -> WitnessKey:
    """The witness keeps the name it began with; its key must be ours."""
    if not path.exists():
        part = path.with_name(path.name + ".part")
        part.write_text(key.text + "\n", encoding="utf-8")
        part.replace(path)
        return key
    known = WitnessKey.parse(path.read_text(encoding="utf-8"))
    if known.public != key.public:
        raise KeyFileError(f"{path} names another key than {SECRET} holds; restore the key")
    return known


async def _serve(witness: Witness, options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listener = socket.create_server((options.host, options.port), family=family)
    host = f"[{options.host}]" if ":" in options.host else options.host
    url = f"http://{host}:{listener.getsockname()[1]}"
    runner = web.AppRunner(WitnessRoutes(witness).application())
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        if options.ready_file is not None:
            _announce(options.ready_file, url, witness.key)
        print(f"Witness {url}\n  key      {witness.key.text}")
        print(f"  gateway  PAYPHONE_WITNESSES={url}={witness.key.text}", flush=True)
        await stop.wait()
    finally:
        await runner.cleanup()


def _announce(path: Path, url: str, key: WitnessKey) -> None:
    """Write the ready file whole, so that a reader never sees half of it."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps({"url": url, "pid": os.getpid(), "key": key.text}), "utf-8")
    part.replace(path)
