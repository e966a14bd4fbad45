"""`payphone sandbox`: look at a running sandbox's chains, hand out play money, make things fail."""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

_URL = "http://127.0.0.1:8402"
_TIMEOUT_S = 30
_UNITS_PER_USD = 1_000_000
_CHAIN = """{name} ({network})
  wallet   {wallet}  {wallet_balance}
  gateway  {pay_to}  {pay_to_balance}
  node     {node}"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("sandbox", help="play money and faults of a running sandbox")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    chains = actions.add_parser("chains", help="which chains there are, and what wallets hold")
    chains.set_defaults(act=_chains)
    fund = actions.add_parser("fund", help="give an address play dollars")
    fund.add_argument("address", help="an address of the chain")
    fund.add_argument("--chain", default="base", help="base, solana, tempo or tron")
    fund.add_argument("--usd", default="10", help="how many dollars (default 10)")
    fund.set_defaults(act=_fund)
    fault = actions.add_parser("fault", help="show what fails, or set it")
    fault.add_argument(
        "switches",
        nargs="*",
        metavar="NAME=VALUE",
        help="lose_answer=1, settle_delay_ms=5000, ... ; none shows how they stand",
    )
    fault.add_argument("--clear", action="store_true", help="switch every fault off first")
    fault.set_defaults(act=_fault)
    for action in (chains, fund, fault):
        action.add_argument("--url", help=f"the gateway (default {_URL})")
        action.add_argument("--ready-file", type=Path, help="the gateway's ready file, for its URL")
        action.add_argument("--json", action="store_true", help="print the answer as it came")
        action.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Ask the gateway; 0 where it answered, 1 where it refused or is not there."""
    console = Console(highlight=False)
    try:
        return asyncio.run(_run(options, console))
    except (httpx.HTTPError, ValueError) as error:
        console.print(
            f"No sandbox at {_url(options)}: {type(error).__name__}. "
            "Start one with `payphone serve --sandbox`, or name it with --url.",
            soft_wrap=True,
        )
        return 1


async def _run(options: argparse.Namespace, console: Console) -> int:
    async with httpx.AsyncClient(base_url=_url(options), timeout=_TIMEOUT_S) as client:
        answer = await options.act(options, client, console)
    if answer.is_success:
        return 0
    told = answer.json()
    if told.get("code") == "no_such_route":
        console.print(f"{_url(options)} is no sandbox: its money is real", soft_wrap=True)
    else:
        console.print(str(told.get("error")), soft_wrap=True)
    return 1


async def _chains(
    options: argparse.Namespace, client: httpx.AsyncClient, console: Console
) -> httpx.Response:
    answer = await client.get("/sandbox/chains")
    if answer.is_success and not _printed(options, answer):
        console.print("[bold yellow]SANDBOX[/bold yellow]: play money")
        for chain in answer.json()["chains"]:
            console.print(_CHAIN.format(**_shown(chain)), soft_wrap=True)
    return answer


async def _fund(
    options: argparse.Namespace, client: httpx.AsyncClient, console: Console
) -> httpx.Response:
    # A JSON number, written as it was typed: a float would round it.
    body = (
        f'{{"chain": {json.dumps(options.chain)}, "address": {json.dumps(options.address)}, '
        f'"amount_usd": {options.usd}}}'
    )
    headers = {"Content-Type": "application/json"}
    answer = await client.post("/sandbox/fund", content=body.encode(), headers=headers)
    if answer.is_success and not _printed(options, answer):
        told = answer.json()
        console.print(
            f"{told['address']} on {told['chain']} holds {_usd(told['balance'])} "
            f"(transaction {told['transaction']})",
            soft_wrap=True,
        )
    return answer


async def _fault(
    options: argparse.Namespace, client: httpx.AsyncClient, console: Console
) -> httpx.Response:
    answer = await client.get("/sandbox/faults")
    wanted: dict[str, object] = {}
    if answer.is_success and options.clear:
        wanted = dict.fromkeys(answer.json()["faults"], 0)
    for text in options.switches:
        name, _, value = text.partition("=")
        wanted[name] = int(value) if value.isdecimal() else value
    if answer.is_success and wanted:
        known = answer.json()["faults"]
        unknown = sorted(set(wanted) - set(known))
        if unknown:
            msg = f"no fault {', '.join(unknown)}; there are {', '.join(known)}"
            console.print(msg, soft_wrap=True)
            raise SystemExit(2)
        answer = await client.post("/sandbox/faults", json=wanted)
    if answer.is_success and not _printed(options, answer):
        for name, value in answer.json()["faults"].items():
            console.print(f"  {name:18} {value}")
    return answer


def _printed(options: argparse.Namespace, answer: httpx.Response) -> bool:
    """Whether the answer itself was wanted."""
    if options.json:
        print(json.dumps(answer.json(), indent=2))
    return bool(options.json)


def _url(options: argparse.Namespace) -> str:
    if options.ready_file is not None:
        ready: dict[str, Any] = json.loads(options.ready_file.read_text(encoding="utf-8"))
        return str(ready["url"])
    return str(options.url or _URL)


def _shown(chain: dict[str, Any]) -> dict[str, str]:
    return {
        **chain,
        "network": ", ".join(chain["networks"]),
        "wallet_balance": _usd(chain["wallet_balance"]),
        "pay_to_balance": _usd(chain["pay_to_balance"]),
        "node": chain["node"] or "none is needed",
    }


def _usd(units: str) -> str:
    whole, cents = divmod(int(units), _UNITS_PER_USD)
    return f"${whole:,}.{cents:06}"
