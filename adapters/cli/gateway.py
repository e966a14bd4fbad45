"""`payphone gateway`: the gateway alone; speech servers register with it."""

from __future__ import annotations

import argparse

from adapters.cli import serve


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("gateway", help="the gateway alone, for speech servers elsewhere")
    serve.add_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """As `payphone serve` does, without engines."""
    return serve.run(options, speech=False)
