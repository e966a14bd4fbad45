"""`payphone log`: the keys that the log is signed with, and following a log from outside."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import httpx
from eventsourcing.persistence import PersistenceError

from adapters.cli.evidence import read_keys, read_rotations
from adapters.cli.follow import follow_log, keep
from adapters.config import Settings
from adapters.keys import KeyFileError, check_signature
from adapters.log_keys import PUBLIC, LogKeys, load_log_keys
from domain.breaks import BrokenHistoryError
from domain.checkpoint import CheckpointError
from domain.cosignature import WitnessKey
from domain.rotation import follow

_TIMEOUT_S = 30
_ANSWER_BYTES_MAX = 1 << 26


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("log", help="the log's keys, and following a log from outside")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    keys = actions.add_parser("keys", help="the keys it was ever signed with, newest first")
    keys.set_defaults(run=_keys)
    rotate = actions.add_parser("rotate-key", help="sign with a new key; the gateway is stopped")
    rotate.add_argument(
        "--database", metavar="URL", help="where the ledger is, if not in the folder"
    )
    rotate.set_defaults(run=_rotate)
    for action in (keys, rotate):
        action.add_argument("--data", type=Path, default=Path("payphone-data"), help="data folder")
    watch = actions.add_parser("follow", help="check that a gateway's log goes on from a kept head")
    watch.add_argument("url", help="the gateway")
    watch.add_argument("--kept", type=Path, required=True, help="the head kept last; made at first")
    watch.add_argument("--key", action="append", required=True, help="the log's key, or a file")
    watch.add_argument("--rotations", type=Path, action="append", default=[], metavar="FILE")
    watch.add_argument("--witness", action="append", default=[], help="demand its cosignature")
    watch.add_argument("--entries", action="store_true", help="fetch and hash every entry, too")
    watch.set_defaults(run=_follow)


def _keys(options: argparse.Namespace) -> int:
    if not (options.data / PUBLIC).is_file():
        print(
            f"no log in {options.data}: give the gateway's data folder with --data",
            file=sys.stderr,
        )
        return 1
    try:
        _print(load_log_keys(options.data, name=""))
    except (KeyFileError, OSError) as problem:
        print(f"cannot do it: {problem}", file=sys.stderr)
        return 1
    return 0


def _rotate(options: argparse.Namespace) -> int:
    """Give the log a new key; 0 when it signs, 1 when nothing was changed."""
    # Only this needs a ledger, and with it the whole gateway.
    from adapters.bootstrap import STARTING_PROBLEMS, rotate_key  # noqa: PLC0415 (as said above)

    database = options.database or os.environ.get("PAYPHONE_DATABASE", "")
    settings = Settings.from_environ(
        {
            "PAYPHONE_DATA": str(options.data),
            "PAYPHONE_DATABASE": database,
            "PAYPHONE_SANDBOX": "1",
        }
    )
    try:
        keys, size = rotate_key(settings)
    except (*STARTING_PROBLEMS, PersistenceError, OSError) as problem:
        print(f"cannot do it: {problem}", file=sys.stderr)
        return 1
    begun = "finished the change of key that was cut short" if keys.is_resumed else "changed"
    print(f"{begun}: from {size} events on the log is signed with")
    _print(keys)
    print("publish the new key; bills and archives from before keep theirs")
    return 0


def _print(keys: LogKeys) -> None:
    for key in keys.all:
        print(f"{key.text} since {keys.since(key)}")


def _follow(options: argparse.Namespace) -> int:
    """Print where the log is and keep its head; 1 with the first thing that does not hold."""
    try:
        with httpx.Client(base_url=options.url.rstrip("/"), timeout=_TIMEOUT_S) as client:
            found = follow_log(
                lambda path: _got(client, path),
                kept=options.kept.read_text("utf-8") if options.kept.exists() else None,
                keys=follow(
                    read_rotations(options.rotations),
                    trusted=read_keys(options.key),
                    check=check_signature,
                ),
                witnesses=tuple(WitnessKey.parse(text) for text in options.witness),
                entries=options.entries,
            )
    except (BrokenHistoryError, CheckpointError) as broken:
        print(f"NOT VERIFIED {broken}", file=sys.stderr)
        return 1
    except (OSError, UnicodeError, httpx.HTTPError, httpx.InvalidURL) as problem:
        print(f"cannot follow {options.url}: {problem}", file=sys.stderr)
        return 2
    keep(options.kept, found.note)
    since = "the first head kept" if found.since is None else f"continues the {found.since} kept"
    print(f"VERIFIED {found.head.origin}: {found.head.size} events, {since}")
    print(f"root {found.head.root.hex()}")
    return 0


def _got(client: httpx.Client, path: str) -> bytes:
    with client.stream("GET", path) as answer:
        if answer.status_code != 200:  # noqa: PLR2004 (OK)
            raise OSError(f"it answers {answer.status_code} to {path}")
        data = bytearray()
        for chunk in answer.iter_bytes():
            data += chunk
            if len(data) > _ANSWER_BYTES_MAX:
                raise OSError(f"its answer to {path} is over {_ANSWER_BYTES_MAX} bytes")
    return bytes(data)
