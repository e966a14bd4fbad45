"""What `payphone stt` and `payphone tts` share: one service for a gateway elsewhere."""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path

from rich.console import Console

from adapters.bootstrap.speech_server import speech_server
from adapters.cli.models import ensure_models
from adapters.cli.serve import environ_with, write_ready
from adapters.cli.stopping import Stopping, serve_until_stopped
from adapters.config import Settings
from adapters.garbage import tend_garbage
from adapters.log import configure

_OPTIONS = {
    "host": "PAYPHONE_HOST",
    "port": "PAYPHONE_PORT",
    "data": "PAYPHONE_DATA",
    "gateway": "PAYPHONE_GATEWAY_URL",
    "name": "PAYPHONE_SERVER_NAME",
    "regions": "PAYPHONE_REGIONS",
    "capacity": "PAYPHONE_CAPACITY",
}

log = logging.getLogger(__name__)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", help="0 lets the system choose (default 8402)")
    parser.add_argument("--data", help="folder for what was not reported yet")
    parser.add_argument(
        "--gateway",
        metavar="URL[,URL]",
        help="the gateway, all of its processes; its secret is in PAYPHONE_FLEET_SECRET",
    )
    parser.add_argument("--name", help="what it is called among the others (default its URL)")
    parser.add_argument("--regions", metavar="WORD[,WORD]", help="where it is near to")
    parser.add_argument("--capacity", help="connections it takes (default: as many as come)")
    parser.add_argument("--ready-file", type=Path, help="written as JSON once it listens")
    parser.add_argument(
        "--no-fetch", action="store_true", help="do not fetch weights that are missing"
    )


def run(options: argparse.Namespace, service: str) -> int:
    """Serve until SIGTERM or SIGINT; clocks are stopped and usage reported before it returns."""
    environ = {"PAYPHONE_DATA": f"payphone-{service}-data", **environ_with(options, _OPTIONS)}
    settings = Settings.from_environ(environ)
    configure(settings.log.level)
    if not options.no_fetch:
        ensure_models(settings, Console(stderr=True, highlight=False))
    return serve_until_stopped(_serve(settings, service, options.ready_file))


async def _serve(settings: Settings, service: str, ready_file: Path | None) -> None:
    stop = Stopping()
    async with speech_server(settings, service) as server:
        tend_garbage()
        if ready_file is not None:
            write_ready(ready_file, {"url": server.url, "pid": os.getpid()})
        console = Console(highlight=False)
        console.print(f"[bold]Payphone {service.upper()}[/bold] {server.url}", soft_wrap=True)
        if not server.has_gateway:
            console.print("  no gateway answers yet; it is asked again until one does")
        await stop.wait()
        log.info("stopping")
