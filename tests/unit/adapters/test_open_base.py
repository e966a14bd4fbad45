"""The rail of Base as a gateway opens it: what keeps it from starting, and what does not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest
from aiohttp.test_utils import TestServer
from eth_account import Account

from adapters.bootstrap.money.base import evm_key, open_base
from adapters.bootstrap.money.parts import Opened, Opening
from adapters.bootstrap.problems import CannotStartError
from adapters.config import Settings
from adapters.keys import KeyFileError
from adapters.sandbox.facilitator import facilitator_app
from adapters.sandbox.faults import Faults
from adapters.sandbox.rpc import node_app
from domain.errors import RailDownError
from domain.money import Microcredits
from domain.ports.payments import Payout
from tests.fakes.base_anvil import GAS_KEY
from tests.fakes.sandbox import PAY_TO, JumpingClock, Sandbox

SEED = b"\x09" * 32
NOWHERE = "http://127.0.0.1:1"


def key_file(folder: Path, text: str = GAS_KEY, mode: int = 0o600) -> Path:
    path = folder / "wallet.key"
    path.write_text(text)
    path.chmod(mode)
    return path


@asynccontextmanager
async def opened(folder: Path, **environ: str) -> AsyncIterator[Opened | None]:
    async with AsyncExitStack() as stack:
        opening = Opening(
            settings=Settings.from_environ({"PAYPHONE_DATA": str(folder), **environ}),
            clock=JumpingClock(),
            faults=Faults(),
            seed=SEED,
            stack=stack,
        )
        yield await open_base(opening)


def far(rpc_url: str, facilitator_url: str = NOWHERE, **others: str) -> dict[str, str]:
    return {
        "PAYPHONE_X402_PAY_TO": PAY_TO,
        "PAYPHONE_BASE_RPC_URL": rpc_url,
        "PAYPHONE_X402_FACILITATOR_URL": facilitator_url,
        **others,
    }


async def test_nobody_to_be_paid_is_no_rail(tmp_path: Path) -> None:
    async with opened(tmp_path) as found:
        assert found is None


async def test_a_node_that_is_away_keeps_nobody_from_starting(tmp_path: Path) -> None:
    async with opened(tmp_path, **far(NOWHERE)) as found:
        assert found is not None
        assert "no answer" in await found.health()
        with pytest.raises(RailDownError):
            await found.rail.challenge(Sandbox().purchase())


async def test_a_node_of_another_chain_does(tmp_path: Path) -> None:
    async with TestServer(node_app(Sandbox().node)) as node:
        environ = far(str(node.make_url("")), PAYPHONE_X402_NETWORK="base-sepolia")

        with pytest.raises(CannotStartError, match="PAYPHONE_X402_NETWORK"):
            async with opened(tmp_path, **environ):
                pass


async def test_a_facilitator_that_is_away_is_told(tmp_path: Path) -> None:
    sandbox = Sandbox()
    async with (
        TestServer(node_app(sandbox.node)) as node,
        TestServer(facilitator_app(sandbox.facilitator)) as facilitator,
        opened(tmp_path, **far(str(node.make_url("")), str(facilitator.make_url("")))) as found,
    ):
        assert found is not None
        assert await found.health() == ""

    sandbox.faults.facilitator_down = True
    async with (
        TestServer(node_app(sandbox.node)) as node,
        TestServer(facilitator_app(sandbox.facilitator)) as facilitator,
        opened(tmp_path, **far(str(node.make_url("")), str(facilitator.make_url("")))) as found,
    ):
        assert found is not None
        assert "503" in await found.health()


async def test_a_chain_that_stands_still_is_told(tmp_path: Path) -> None:
    late = JumpingClock()
    late.at_ms -= 600_000
    sandbox = Sandbox(clock=late)
    async with (
        TestServer(node_app(sandbox.node)) as node,
        opened(tmp_path, **far(str(node.make_url("")))) as found,
    ):
        assert found is not None
        assert "seconds old" in await found.health()


async def test_a_wallet_to_pay_back_from_is_opened_where_there_is_one(tmp_path: Path) -> None:
    key = key_file(tmp_path)
    async with opened(tmp_path, **far(NOWHERE, PAYPHONE_X402_REFUND_KEY_FILE=str(key))) as found:
        assert found is not None
        assert found.payout is not None
        proof = await found.payout.prepare(
            Payout(refund_id=UUID(int=1), chain="evm", wallet=PAY_TO, amount=Microcredits(1))
        )

    assert proof.payer == Account.from_key(GAS_KEY).address.lower()


async def test_play_money_comes_with_a_wallet_a_node_and_a_way_back(tmp_path: Path) -> None:
    async with opened(tmp_path, PAYPHONE_SANDBOX="1") as found:
        assert found is not None
        assert found.sandbox is not None
        assert found.payout is not None
        assert await found.sandbox.balance(found.sandbox.wallet.address) > 0
        assert await found.health() == ""


async def test_play_money_is_there_again_after_a_crash(tmp_path: Path) -> None:
    async with opened(tmp_path, PAYPHONE_SANDBOX="1") as found:
        assert found is not None
        assert found.sandbox is not None
        await found.sandbox.fund(PAY_TO, 7)

    async with opened(tmp_path, PAYPHONE_SANDBOX="1") as again:
        assert again is not None
        assert again.sandbox is not None
        assert await again.sandbox.balance(PAY_TO) == 7


@pytest.mark.parametrize("text", ["", "0x12", "zz" * 32, "00" * 32, "ff" * 32, "\xff" * 64])
def test_what_is_no_key_is_not_used(tmp_path: Path, text: str) -> None:
    with pytest.raises(KeyFileError) as refused:
        evm_key(key_file(tmp_path, text))

    assert not text or text not in str(refused.value)


def test_a_key_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="chmod 600"):
        evm_key(key_file(tmp_path, mode=0o640))


def test_a_key_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="FileNotFoundError"):
        evm_key(tmp_path / "wallet.key")


@pytest.mark.parametrize("text", [GAS_KEY, GAS_KEY.removeprefix("0x") + "\n"])
def test_a_key_may_be_written_as_people_write_it(tmp_path: Path, text: str) -> None:
    assert evm_key(key_file(tmp_path, text)).address == Account.from_key(GAS_KEY).address
