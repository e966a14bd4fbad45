"""A whole purchase, from a client's first byte to credit in the ledger, and where its time goes.

    make bench TABLE=purchases

Gateway and chain are one process, as `payphone serve --sandbox` is, the clients another; they share
the cores. The peer is the bare library on the same kind of chain: no ledger, its word believed.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from adapters.bootstrap import Site, site
from adapters.config import Settings
from adapters.garbage import tend_garbage
from domain.account import Account
from domain.ledger import Work
from domain.ports.payments import PaymentRail
from tests.bench.purchase_load import EACH, PURCHASES, WALLETS, WARM
from tests.bench.purchase_peers import PEERS, Spans, Till
from tests.bench.purchase_shops import AMOUNT, SHOPS, Shop, Wallet
from tests.bench.report import Row, percentile_ms

PEER = "bare x402"
GOAL = "p99 ≤ 5 ms"
UNLIMITED = {
    "PAYPHONE_API_RATE_MAX": "100000",
    "PAYPHONE_IP_RATE_MAX": "1000000",
    "PAYPHONE_SANDBOX": "1",
    "PAYPHONE_PORT": "0",
    # The chain beside us takes what is signed for 30 s at most, and the client signs for 60.
    "PAYPHONE_TEMPO_CHALLENGE_SECONDS": "24",
    # Servers for speech would be elsewhere; none is asked for.
    "PAYPHONE_FLEET_SECRET": "0" * 64,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Purchases one after the other, in ms: all of it, and each part of it.

    `rest` is what is none of the others: the server's own share.
    """

    whole: list[float]
    client: list[float]
    verify: list[float]
    settle: list[float]

    @property
    def rest(self) -> list[float]:
        parts = zip(self.whole, self.client, self.verify, self.settle, strict=True)
        return [whole - client - verify - settle for whole, client, verify, settle in parts]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """Many wallets at once: how long each purchase took, and all of them together."""

    whole_ms: list[float]
    took_s: float

    @property
    def per_second(self) -> float:
        return len(self.whole_ms) / self.took_s


@dataclass(frozen=True, slots=True)
class Load:
    split: Split
    crowd: Crowd


def rows() -> list[Row]:
    return asyncio.run(_rows())


async def _rows() -> list[Row]:
    made: list[Row] = []
    for shop in SHOPS:
        with tempfile.TemporaryDirectory() as folder:
            ours = await _ours(shop, Path(folder))
        if ours is not None:
            made += _shop_rows(shop, ours, await _peers(shop))
    return made


async def _ours(shop: Shop, folder: Path) -> Load | None:
    """Ours, and that nothing was lost on the way; None where this rail is not open here."""
    environ = {**UNLIMITED, "PAYPHONE_DATA": str(folder)}
    async with site(Settings.from_environ(environ), speech=False) as place:
        rail = next((rail for rail in place.gateway.rails if rail.name == shop.rail), None)
        if rail is None:
            return None
        till = _till(place, rail)
        tend_garbage()
        load = await _load(shop, till)
        bought = _bought(shop)
        assert await till.received() == sum(bought.values()) * AMOUNT, "the chain has another sum"
        for wallet, times in bought.items():
            credit = await place.gateway.books.run(partial(_credit, wallet=wallet))
            assert credit == times * AMOUNT, f"{wallet.address} has {credit}"
    _audit(folder)
    return load


async def _peers(shop: Shop) -> Load | None:
    if shop.rail not in PEERS:
        return None
    async with PEERS[shop.rail]() as till:
        load = await _load(shop, till)
        assert await till.received() == sum(_bought(shop).values()) * AMOUNT
    return load


async def _load(shop: Shop, till: Till) -> Load:
    """Both loads, by clients in a process of their own."""
    for wallet, times in _bought(shop).items():
        # More than that: on some chains whoever pays also pays the fee, in the same dollars.
        await till.fund(wallet.address, 2 * times * AMOUNT)
    clients = await asyncio.create_subprocess_exec(
        # What one of the clients is built on will change, it says.
        *(sys.executable, "-W", "ignore::FutureWarning", "-m", "tests.bench.purchase_load"),
        *(shop.rail, till.url),
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await clients.communicate()
    assert clients.returncode == 0, "clients failed; see above"
    figures = json.loads(told)
    counted = slice(WARM, WARM + PURCHASES)
    return Load(
        split=Split(
            whole=figures["whole_ms"],
            client=figures["client_ms"],
            verify=till.spans.verify[counted],
            settle=till.spans.settle[counted],
        ),
        crowd=Crowd(whole_ms=figures["crowd_ms"], took_s=figures["crowd_s"]),
    )


def _bought(shop: Shop) -> dict[Wallet, int]:
    """How often each wallet bought, with both loads done."""
    crowd = {shop.wallet(1 + index): EACH for index in range(WALLETS)}
    return {shop.wallet(0): WARM + PURCHASES, **crowd}


def _till(place: Site, rail: PaymentRail) -> Till:
    """The gateway's, with a stopwatch at the rail and the sandbox's money."""
    assert place.sandbox is not None
    network = next(n for n in place.sandbox.networks if set(n.networks) & set(rail.networks))
    spans = Spans()
    for name in ("verify", "settle"):
        setattr(rail, name, spans.timed(name, getattr(rail, name)))
    return Till(
        url=place.url,
        spans=spans,
        fund=network.fund,
        received=lambda: network.balance(network.pay_to),
    )


def _credit(work: Work, *, wallet: Wallet) -> int:
    account_id = Account.create_id(wallet.chain, wallet.canonical)
    account = work.find(Account, account_id)
    return account.available.value if account is not None else 0


def _audit(folder: Path) -> None:
    """Every event replayed, every balance folded again; the trial balance is zero."""
    done = subprocess.run(
        [sys.executable, "-m", "adapters", "ledger", "verify", "--data", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "trial balance 0" in " ".join(done.stdout.split()), done.stdout


def _shop_rows(shop: Shop, ours: Load, peer: Load | None) -> list[Row]:
    def row(name: str, part: str, goal: str = "") -> Row:
        values = getattr(ours.split, part)
        others = getattr(peer.split, part) if peer else []
        return Row(
            name=f"{shop.rail}: {name}",
            ours=_text(values),
            peer=_text(others) if others else "",
            peer_name=PEER if peer else "",
            ratio=statistics.median(others) / statistics.median(values) if others else None,
            goal=goal,
        )

    return [
        row("whole purchase", "whole"),
        row("of it the client", "client"),
        row("verifying", "verify"),
        row("settling", "settle"),
        row("the server's own share", "rest", goal=GOAL),
        Row(
            name=f"{shop.rail}: {WALLETS} wallets at once, {EACH} each, none lost",
            ours=_crowd_text(ours.crowd),
            peer=_crowd_text(peer.crowd) if peer else "",
            peer_name=PEER if peer else "",
            ratio=ours.crowd.per_second / peer.crowd.per_second if peer else None,
        ),
    ]


def _text(values: Sequence[float]) -> str:
    return f"p50 {percentile_ms(values, 50)}  p99 {percentile_ms(values, 99)}"


def _crowd_text(crowd: Crowd) -> str:
    return f"{crowd.per_second:,.0f}/s  {_text(crowd.whole_ms)}"
