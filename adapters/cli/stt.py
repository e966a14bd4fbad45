"""`payphone stt`: a server of STT for a gateway elsewhere."""

from __future__ import annotations

import argparse
from functools import partial

from adapters.cli import speech_server


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("stt", help="STT alone, for a gateway elsewhere")
    speech_server.add_options(parser)
    parser.set_defaults(run=partial(speech_server.run, service="stt"))
