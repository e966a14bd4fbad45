"""`payphone serve`: everything in one process, until it is told to stop."""

from __future__ import annotations

import argparse
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from adapters.bootstrap import Sandbox, Site, node_url, site
from adapters.cli.models import ensure_models
from adapters.cli.stopping import Stopping, serve_until_stopped
from adapters.config import ConfigError, Settings
from adapters.garbage import tend_garbage
from adapters.log import configure
from adapters.sandbox.faults import Faults

_OPTIONS = {
    "host": "PAYPHONE_HOST",
    "port": "PAYPHONE_PORT",
    "data": "PAYPHONE_DATA",
    "database": "PAYPHONE_DATABASE",
}

log = logging.getLogger(__name__)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("serve", help="gateway, STT and TTS in one process")
    add_options(parser)
    parser.add_argument(
        "--no-fetch", action="store_true", help="do not fetch weights that are missing"
    )
    parser.set_defaults(run=run)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What every gateway is told, with speech of its own or without."""
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", help="0 lets the system choose (default 8402)")
    parser.add_argument("--data", help="data folder (default payphone-data)")
    parser.add_argument(
        "--database",
        metavar="URL",
        help="keep the ledger in PostgreSQL (postgresql://...), also from several processes",
    )
    parser.add_argument("--sandbox", action="store_true", help="chains in the process, play money")
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="sandbox only: lose_answer=1, settle_delay_ms=5000, ... (`payphone sandbox fault`)",
    )
    parser.add_argument("--ready-file", type=Path, help="written as JSON once it listens")


def environ_with(options: argparse.Namespace, names: Mapping[str, str]) -> dict[str, str]:
    """The environment, where what the command line says comes first."""
    given = {name: getattr(options, option) for option, name in names.items()}
    return {**os.environ, **{name: text for name, text in given.items() if text is not None}}


def run(options: argparse.Namespace, *, speech: bool = True) -> int:
    """Serve until SIGTERM or SIGINT; clocks are paused and batches committed before it returns.

    A second signal ends the waiting for others, and the answer is 130: somebody was cut off.
    """
    environ = environ_with(options, _OPTIONS)
    if options.sandbox:
        environ["PAYPHONE_SANDBOX"] = "1"
    settings = Settings.from_environ(environ)
    configure(settings.log.level)
    if speech and not options.no_fetch:
        # Missing weights make a service unavailable, not the gateway.
        ensure_models(settings, Console(stderr=True, highlight=False))
    faults = _faults(options.fault)
    return serve_until_stopped(_serve(settings, options.ready_file, faults, speech=speech))


async def _serve(
    settings: Settings, ready_file: Path | None, faults: Faults, *, speech: bool
) -> None:
    stop = Stopping()
    async with site(settings, faults=faults, speech=speech) as place:
        tend_garbage()
        if ready_file is not None:
            _announce(place, ready_file)
        _greet(place)
        await stop.wait()
        log.info("stopping")


def _faults(given: list[str]) -> Faults:
    """Read `name=number` pairs; anything else is a ConfigError."""
    faults = Faults()
    known = list(faults.shown())
    for text in given:
        name, _, value = text.partition("=")
        if name not in known or not value.isdecimal():
            raise ConfigError(
                [f"--fault: expected one of {', '.join(known)} as name=1, got {text}"]
            )
        faults.turn(name, int(value))
    return faults


def _announce(place: Site, ready_file: Path) -> None:
    ready: dict[str, object] = {"url": place.url, "pid": os.getpid()}
    if place.sandbox is not None:
        ready["sandbox"] = _wallets(place, place.sandbox)
    write_ready(ready_file, ready)


def _wallets(place: Site, sandbox: Sandbox) -> dict[str, object]:
    """The funded wallets, each with its node; the one on Base pays on Tempo too."""
    told: dict[str, object] = {
        "evm_private_key": sandbox.evm.secret_key,
        "evm_address": sandbox.evm.address,
    }
    for network in sandbox.networks:
        secret = "secret_key" if network.name == "solana" else "private_key"
        told[f"{network.name}_{secret}"] = network.wallet.secret_key
        told[f"{network.name}_address"] = network.wallet.address
        told[f"{network.name}_rpc_url"] = node_url(place.url, network)
    return told


def write_ready(ready_file: Path, ready: dict[str, object]) -> None:
    """Write the ready file whole, so that a reader never sees half of it."""
    part = ready_file.with_name(ready_file.name + ".part")
    part.write_text(json.dumps(ready), encoding="utf-8")
    part.replace(ready_file)


def _greet(place: Site) -> None:
    console = Console(highlight=False)
    console.print(f"[bold]Payphone[/bold] {place.url}", soft_wrap=True)
    console.print(f"  health   {place.url}/internal/health", soft_wrap=True)
    console.print(f"  prices   {place.url}/v1/pricing", soft_wrap=True)
    console.print(f"  log key  {place.log_key}", soft_wrap=True)
    if place.sandbox is None:
        return
    console.print("\n[bold yellow]SANDBOX[/bold yellow]: play money; never send real funds here")
    for network in place.sandbox.networks:
        dollars = "USDT" if network.chain == "tron" else "USDC"
        console.print(
            f"  {network.name:8} {network.wallet.address} (play {dollars})", soft_wrap=True
        )
        console.print(f"    key    {network.wallet.secret_key}", soft_wrap=True)
    for missing in sorted({"tempo", "tron"} - {n.name for n in place.sandbox.networks}):
        console.print(f"  {missing:8} not here: it needs anvil on PATH (npm @foundry-rs/anvil)")
    console.print(
        _SNIPPETS.format(
            url=place.url, key=place.sandbox.evm.secret_key, address=place.sandbox.evm.address
        ),
        soft_wrap=True,
        markup=False,
    )


_SNIPPETS = """
curl (the price of ten cents of credit):
  curl -i {url}/v1/credits/purchase -H 'content-type: application/json' -d '{{
    "wallet_address": "{address}",
    "wallet_chain": "evm", "amount_usd": 0.1}}'

TypeScript (npm i @dtelecom/x402-client viem@2.48.0):
  import {{ DtelecomGateway }} from "@dtelecom/x402-client";
  import {{ privateKeyToAccount }} from "viem/accounts";
  const account = privateKeyToAccount("{key}");
  const gateway = new DtelecomGateway({{ account, gatewayUrl: "{url}" }});
  console.log(await gateway.buyCredits({{ amountUsd: 0.1 }}), await gateway.getAccount());

Python (in this environment):
    from adapters.cli.customer import Customer
  async def main():
      async with Customer("{url}", "{key}") as customer:
          print(await customer.buy("0.10"), await customer.call("GET", "/v1/account"))
  asyncio.run(main())
"""
