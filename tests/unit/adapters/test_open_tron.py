"""The rail of TRON as a gateway opens it: what keeps it from starting, and what does not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestServer

from adapters.bootstrap.money.parts import Opened, Opening
from adapters.bootstrap.money.tron import open_tron
from adapters.bootstrap.problems import CannotStartError
from adapters.config import Settings
from adapters.keys import KeyFileError
from adapters.sandbox.faults import Faults
from adapters.sandbox.tron_facilitator import tron_facilitator_app
from domain.errors import RailDownError
from domain.money import Microcredits
from tests.fakes.anvil import anvil_or_skip
from tests.fakes.sandbox import JumpingClock
from tests.fakes.tron_paper import PAY_TO, purchase_of
from tests.fakes.tron_sandbox import TronSandbox, tron_sandbox

SEED = b"\x09" * 32
NOWHERE = "http://127.0.0.1:1"
# Throwaway: 32 bytes of 0x55. Nobody should send anything to it.
REFUND_KEY = "55" * 32


@asynccontextmanager
async def opened(folder: Path, **environ: str) -> AsyncIterator[Opened | None]:
    async with AsyncExitStack() as stack:
        settings = Settings.from_environ({"PAYPHONE_DATA": str(folder), **environ})
        opening = Opening(
            settings=settings, clock=JumpingClock(), faults=Faults(), seed=SEED, stack=stack
        )
        yield await open_tron(opening, settings.tron)


def far(node_url: str = NOWHERE, facilitator_url: str = NOWHERE, **others: str) -> dict[str, str]:
    return {
        "PAYPHONE_TRON_PAY_TO": PAY_TO,
        "PAYPHONE_TRON_NODE_URL": node_url,
        "PAYPHONE_TRON_FACILITATOR_URL": facilitator_url,
        **{f"PAYPHONE_TRON_{name}": value for name, value in others.items()},
    }


def key_file(folder: Path, text: str = REFUND_KEY, mode: int = 0o600) -> str:
    path = folder / "some.key"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def node_of(sandbox: TronSandbox) -> str:
    return str(sandbox.node.make_url(""))


async def test_nobody_to_be_paid_is_no_rail(tmp_path: Path) -> None:
    async with opened(tmp_path) as found:
        assert found is None


async def test_a_sandbox_without_anvil_has_no_tron(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    async with opened(tmp_path, PAYPHONE_SANDBOX="1") as found:
        assert found is None


async def test_who_is_away_keeps_nobody_from_starting(tmp_path: Path) -> None:
    async with opened(tmp_path, **far()) as found:
        assert found is not None
        assert found.payout is None
        health = await found.health()
        assert "node gave no answer" in health
        assert "facilitator gave no answer" in health
        with pytest.raises(RailDownError):
            await found.rail.challenge(purchase_of())


@pytest.mark.anvil
async def test_a_node_of_another_network_does(tmp_path: Path) -> None:
    async with tron_sandbox() as sandbox:
        with pytest.raises(CannotStartError, match="PAYPHONE_TRON_NETWORK"):
            async with opened(tmp_path, **far(node_of(sandbox), NETWORK="nile")):
                pass


@pytest.mark.anvil
async def test_a_rail_over_http_asks_for_payments_at_our_address(tmp_path: Path) -> None:
    async with (
        tron_sandbox() as sandbox,
        TestServer(tron_facilitator_app(sandbox.network.facilitator)) as facilitator,
        opened(tmp_path, **far(node_of(sandbox), str(facilitator.make_url("")))) as found,
    ):
        assert found is not None
        assert await found.health() == ""
        terms: dict[str, Any] = (await found.rail.challenge(purchase_of())).terms
        assert terms["accepts"][0]["payTo"] == PAY_TO == found.pay_to


@pytest.mark.anvil
async def test_a_fee_above_the_cap_closes_the_rail(tmp_path: Path) -> None:
    async with (
        tron_sandbox() as sandbox,
        TestServer(tron_facilitator_app(sandbox.network.facilitator)) as facilitator,
        opened(
            tmp_path, **far(node_of(sandbox), str(facilitator.make_url("")), FEE_MAX="99")
        ) as found,
    ):
        assert found is not None
        with pytest.raises(RailDownError):
            await found.rail.challenge(purchase_of())


async def test_a_wallet_to_pay_back_from_is_opened_where_there_is_one(tmp_path: Path) -> None:
    key = key_file(tmp_path)

    async with opened(tmp_path, **far(REFUND_KEY_FILE=key)) as found:
        assert found is not None
        assert found.payout is not None


@pytest.mark.parametrize(
    ("text", "mode", "told"),
    [
        (REFUND_KEY, 0o644, "chmod 600"),
        ("not hex", 0o600, "one key"),
        ("nothex", 0o600, "TRON private key"),
        ("", 0o600, "one key"),
        ("00" * 32, 0o600, "TRON private key"),
        ("é", 0o600, "must hold a key"),
    ],
)
async def test_a_key_file_that_will_not_do_says_so(
    tmp_path: Path, text: str, mode: int, told: str
) -> None:
    key = key_file(tmp_path, text, mode)

    with pytest.raises(KeyFileError, match=told):
        async with opened(tmp_path, **far(REFUND_KEY_FILE=key)):
            pass


async def test_a_key_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone.key")

    with pytest.raises(KeyFileError, match="FileNotFoundError"):
        async with opened(tmp_path, **far(FACILITATOR_KEY_FILE=gone)):
            pass


@pytest.mark.anvil
async def test_play_money_has_a_funded_wallet_and_pays_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(anvil_or_skip().parent))
    async with opened(tmp_path, PAYPHONE_SANDBOX="1") as found:
        assert found is not None
        assert found.sandbox is not None
        assert found.payout is not None
        first = found.sandbox.wallet.address
        assert await found.sandbox.balance(first) == 1_000_000_000
        await found.sandbox.fund(found.pay_to, 5_000)
        assert await found.payout.funds() == Microcredits(5_000)

    async with opened(tmp_path, PAYPHONE_SANDBOX="1") as again:
        assert again is not None
        assert again.sandbox is not None
        assert again.sandbox.wallet.address == first
        assert await again.sandbox.balance(again.pay_to) == 5_000
