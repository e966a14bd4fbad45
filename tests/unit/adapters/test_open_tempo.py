"""How the rail of Tempo is opened: with a node of somebody's, with a chain of ours, or not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from adapters.bootstrap.money.parts import Opened, Opening
from adapters.bootstrap.money.tempo import open_tempo
from adapters.config import Settings
from adapters.keys import KeyFileError
from adapters.sandbox.faults import Faults
from adapters.tempo_settings import TempoSettings
from domain.money import Microcredits
from tests.fakes.anvil import anvil_or_skip, anvil_path
from tests.fakes.mpp_payer import PAY_TO, SEED, THROWAWAY_KEY
from tests.fakes.sandbox import JumpingClock


@asynccontextmanager
async def opened(
    data: Path,
    settings: TempoSettings | None,
    *,
    sandbox: bool = False,
    faults: Faults | None = None,
) -> AsyncIterator[Opened | None]:
    async with AsyncExitStack() as stack:
        opening = Opening(
            settings=Settings.from_environ(
                {"PAYPHONE_DATA": str(data), "PAYPHONE_SANDBOX": "1" if sandbox else "0"}
            ),
            clock=JumpingClock(),
            faults=faults or Faults(),
            seed=SEED,
            stack=stack,
        )
        yield await open_tempo(opening, settings)


@asynccontextmanager
async def node_of(chain_id: int, *, head_age_s: int = 0) -> AsyncIterator[str]:
    """A node by URL that knows which chain it is and when its newest block was."""
    head_s = JumpingClock().now_ms() // 1000 - head_age_s
    answers = {"eth_chainId": hex(chain_id), "eth_getBlockByNumber": {"timestamp": hex(head_s)}}

    async def post(request: web.Request) -> web.Response:
        asked = await request.json()
        return web.json_response({"id": asked["id"], "result": answers[asked["method"]]})

    app = web.Application()
    app.router.add_post("/", post)
    async with TestServer(app) as server:
        yield str(server.make_url("/"))


async def test_without_settings_there_is_no_rail(tmp_path: Path) -> None:
    async with opened(tmp_path, None) as found:
        assert found is None


async def test_with_a_node_the_rail_is_well(tmp_path: Path) -> None:
    async with (
        node_of(4217) as url,
        opened(tmp_path, TempoSettings(pay_to=PAY_TO, rpc_url=url)) as found,
    ):
        assert found is not None
        assert (found.rail.name, found.pay_to) == ("mpp-tempo", PAY_TO)
        assert (found.payout, found.sandbox) == (None, None)
        assert await found.health() == ""


@pytest.mark.parametrize(
    ("chain_id", "age_s", "problem"), [(1, 0, "of chain 1"), (4217, 3_600, "seconds old")]
)
async def test_what_is_wrong_with_the_node_is_told(
    tmp_path: Path, chain_id: int, age_s: int, problem: str
) -> None:
    async with (
        node_of(chain_id, head_age_s=age_s) as url,
        opened(tmp_path, TempoSettings(pay_to=PAY_TO, rpc_url=url)) as found,
    ):
        assert found is not None
        assert problem in await found.health()


async def test_a_node_that_is_away_does_not_keep_us_from_starting(tmp_path: Path) -> None:
    settings = TempoSettings(pay_to=PAY_TO, rpc_url="http://127.0.0.1:1/secret")
    async with opened(tmp_path, settings) as found:
        assert found is not None
        problem = await found.health()

    assert "no answer" in problem
    assert "secret" not in problem


async def test_with_a_key_it_pays_back(tmp_path: Path) -> None:
    key = tmp_path / "refund.key"
    key.write_text(THROWAWAY_KEY)
    key.chmod(0o600)
    settings = TempoSettings(pay_to=PAY_TO, rpc_url="http://127.0.0.1:1", refund_key_file=key)

    async with opened(tmp_path, settings) as found:
        assert found is not None
        assert found.payout is not None


async def test_a_key_that_others_may_read_stops_the_start(tmp_path: Path) -> None:
    key = tmp_path / "refund.key"
    key.write_text(THROWAWAY_KEY)
    key.chmod(0o644)
    settings = TempoSettings(pay_to=PAY_TO, rpc_url="http://127.0.0.1:1", refund_key_file=key)

    with pytest.raises(KeyFileError):
        async with opened(tmp_path, settings):
            pass


async def test_a_sandbox_without_anvil_has_no_tempo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    async with opened(tmp_path, TempoSettings(), sandbox=True) as found:
        assert found is None


async def test_a_sandbox_whose_anvil_does_not_start_has_no_tempo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "anvil"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    async with opened(tmp_path, TempoSettings(), sandbox=True) as found:
        assert found is None


@pytest.mark.anvil
async def test_a_sandbox_has_a_funded_wallet_and_pays_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    anvil_or_skip()
    monkeypatch.setenv("PATH", anvil_path())

    async with opened(tmp_path, TempoSettings(), sandbox=True) as found:
        assert found is not None
        assert found.sandbox is not None
        assert found.payout is not None
        assert await found.sandbox.balance(found.sandbox.wallet.address) == 1_000_000_000
        assert await found.health() == ""
        await found.sandbox.fund(found.pay_to, 5)
        assert await found.payout.funds() == Microcredits(5)


@pytest.mark.anvil
async def test_a_sandbox_is_the_same_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    anvil_or_skip()
    monkeypatch.setenv("PATH", anvil_path())
    async with opened(tmp_path, TempoSettings(), sandbox=True) as found:
        assert found is not None
        assert found.sandbox is not None
        await found.sandbox.fund(PAY_TO, 7)

    async with opened(tmp_path, TempoSettings(), sandbox=True) as again:
        assert again is not None
        assert again.sandbox is not None
        assert await again.sandbox.balance(PAY_TO) == 7
        assert again.sandbox.wallet == found.sandbox.wallet


@pytest.mark.anvil
async def test_a_sandbox_that_is_switched_off_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    anvil_or_skip()
    monkeypatch.setenv("PATH", anvil_path())
    faults = Faults()

    async with opened(tmp_path, TempoSettings(), sandbox=True, faults=faults) as found:
        assert found is not None
        faults.facilitator_down = True
        assert "switched off" in await found.health()
