"""The command line: argv, environment, exit code."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from adapters.config import ConfigError
from adapters.recursion import keep_recursion_shallow

_SWITCH_S = 0.001
COMMANDS = (
    "serve",
    "gateway",
    "stt",
    "tts",
    "demo",
    "models",
    "ledger",
    "verify",
    "correct",
    "refund",
    "sandbox",
    "log",
    "witness",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 well, 1 not, 2 asked for wrongly."""
    parser = argparse.ArgumentParser(
        prog="payphone", description="A pay-per-use voice gateway whose bill the payer can check."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    wanted = argv if argv is not None else sys.argv[1:]
    # Only the command asked for is imported: `payphone verify` needs no engine and no chain.
    named = [name for name in COMMANDS if name in wanted[:1]] or COMMANDS
    for name in named:
        import_module(f"adapters.cli.{name}").add_parser(commands)
    options = parser.parse_args(wanted)
    # Engines hold the interpreter in long stretches; the event loop wants it back within a ms.
    sys.setswitchinterval(_SWITCH_S)
    keep_recursion_shallow()
    try:
        return int(options.run(options))
    except ConfigError as problems:
        print(problems, file=sys.stderr)  # noqa: T201 (the command line's own answer)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
