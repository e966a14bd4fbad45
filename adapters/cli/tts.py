"""`payphone tts`: a server of TTS for a gateway elsewhere."""

from __future__ import annotations

import argparse
from functools import partial

from adapters.cli import speech_server


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("tts", help="TTS alone, for a gateway elsewhere")
    speech_server.add_options(parser)
    parser.set_defaults(run=partial(speech_server.run, service="tts"))
