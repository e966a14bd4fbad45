"""The rail of Solana as a gateway opens it: with a key for the fees, and as play money."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from aiohttp.test_utils import TestServer
from solders.keypair import Keypair

from adapters.bootstrap.money.parts import Opened, Opening
from adapters.bootstrap.money.solana import open_solana, solana_key
from adapters.bootstrap.problems import CannotStartError
from adapters.config import Settings
from adapters.keys import KeyFileError
from adapters.sandbox.faults import Faults
from adapters.sandbox.solana_rpc import solana_node_app
from adapters.solana_settings import SolanaSettings
from domain.money import Microcredits
from domain.ports.payments import Payout, Settled
from tests.fakes.solana_sandbox import BUYER, FEE_PAYER, PAY_TO, TILL, SolanaSandbox

SEED = b"\x09" * 32


def key_file(folder: Path, key: Keypair) -> Path:
    """As `solana-keygen` writes it."""
    path = folder / f"{key.pubkey()}.json"
    path.write_text(json.dumps(list(bytes(key))))
    path.chmod(0o600)
    return path


@asynccontextmanager
async def opened(
    cluster: SolanaSandbox, folder: Path, settings: SolanaSettings | None, **environ: str
) -> AsyncIterator[Opened]:
    async with AsyncExitStack() as stack:
        opening = Opening(
            settings=Settings.from_environ({"PAYPHONE_DATA": str(folder), **environ}),
            clock=cluster.clock,
            faults=Faults(),
            seed=SEED,
            stack=stack,
        )
        found = await open_solana(opening, settings)
        assert found is not None
        yield found


@pytest.fixture
async def node_url() -> AsyncIterator[tuple[SolanaSandbox, str]]:
    cluster = SolanaSandbox()
    async with TestServer(solana_node_app(cluster.node)) as server:
        yield cluster, str(server.make_url("/"))


def settings_for(folder: Path, url: str, network: str = "mainnet") -> SolanaSettings:
    return SolanaSettings(
        pay_to=PAY_TO,
        network=network,
        rpc_url=url,
        fee_payer_key_file=key_file(folder, FEE_PAYER),
        refund_key_file=key_file(folder, TILL),
    )


async def test_a_key_for_the_fees_is_all_a_gateway_needs_beside_a_node(
    node_url: tuple[SolanaSandbox, str], tmp_path: Path
) -> None:
    cluster, url = node_url
    async with opened(cluster, tmp_path, settings_for(tmp_path, url)) as found:
        headers = cluster.presented(cluster.transaction())
        proof = await found.rail.decode(headers, cluster.purchase())
        assert proof is not None
        await found.rail.verify(proof, cluster.purchase())

        settled = await found.rail.settle(proof)

        assert isinstance(settled, Settled)
        assert await found.health() == ""
    assert cluster.received() == 100_000


async def test_the_refund_key_pays_back(
    node_url: tuple[SolanaSandbox, str], tmp_path: Path
) -> None:
    cluster, url = node_url
    cluster.chain.fund(PAY_TO, 50_000)
    customer = str(BUYER.pubkey())
    before = cluster.chain.balance(customer)
    async with opened(cluster, tmp_path, settings_for(tmp_path, url)) as found:
        assert found.payout is not None
        proof = await found.payout.prepare(
            Payout(refund_id=uuid4(), chain="solana", wallet=customer, amount=Microcredits(50_000))
        )

        assert isinstance(await found.payout.settle(proof), Settled)
    assert cluster.chain.balance(customer) == before + 50_000


async def test_a_node_of_another_chain_does_not_start(
    node_url: tuple[SolanaSandbox, str], tmp_path: Path
) -> None:
    cluster, url = node_url

    with pytest.raises(CannotStartError, match="another chain"):
        async with opened(cluster, tmp_path, settings_for(tmp_path, url, "devnet")):
            pass


async def test_a_node_that_is_away_does_not_keep_a_gateway_from_starting(tmp_path: Path) -> None:
    cluster = SolanaSandbox()
    settings = settings_for(tmp_path, "http://127.0.0.1:1/")

    async with opened(cluster, tmp_path, settings) as found:
        assert "cannot be asked" in await found.health()


async def test_a_sandbox_is_the_same_after_a_restart(tmp_path: Path) -> None:
    cluster = SolanaSandbox()
    anybody = str(Keypair().pubkey())
    async with opened(cluster, tmp_path, None, PAYPHONE_SANDBOX="1") as found:
        assert found.sandbox is not None
        wallet = found.sandbox.wallet.address
        await found.sandbox.fund(anybody, 123)

    async with opened(cluster, tmp_path, None, PAYPHONE_SANDBOX="1") as again:
        assert again.sandbox is not None
        assert (again.pay_to, again.sandbox.wallet.address) == (found.pay_to, wallet)
        assert await again.sandbox.balance(anybody) == 123
        assert await again.sandbox.balance(wallet) == 1_000_000_000


async def test_two_gateways_on_a_folder_have_chains_of_their_own_and_one_wallet(
    tmp_path: Path,
) -> None:
    cluster = SolanaSandbox()
    async with (
        opened(cluster, tmp_path, None, PAYPHONE_SANDBOX="1") as one,
        opened(cluster, tmp_path, None, PAYPHONE_SANDBOX="1") as other,
    ):
        assert one.sandbox is not None
        assert other.sandbox is not None
        await one.sandbox.fund(one.sandbox.wallet.address, 5)

        assert one.sandbox.wallet == other.sandbox.wallet
        assert await other.sandbox.balance(one.sandbox.wallet.address) == 1_000_000_000


@pytest.mark.parametrize("amount", [0, -1, 2**63])
async def test_the_sandbox_gives_only_what_can_be_given(tmp_path: Path, amount: int) -> None:
    async with opened(SolanaSandbox(), tmp_path, None, PAYPHONE_SANDBOX="1") as found:
        assert found.sandbox is not None
        with pytest.raises(ValueError, match="positive"):
            await found.sandbox.fund(found.pay_to, amount)
        with pytest.raises(ValueError, match="a Solana address"):
            await found.sandbox.fund("nobody", 1)


def test_a_key_file_is_a_list_of_numbers_or_base58(tmp_path: Path) -> None:
    path = key_file(tmp_path, TILL)
    short = tmp_path / "short"
    short.write_text(str(TILL) + "\n")
    short.chmod(0o600)

    assert solana_key(path) == solana_key(short) == TILL


@pytest.mark.parametrize("content", ["", "[1, 2]", "[300]", "nothing", "[[]]", str(TILL)[:-2]])
def test_another_content_is_told_and_not_shown(tmp_path: Path, content: str) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    path.chmod(0o600)

    with pytest.raises(KeyFileError) as refusal:
        solana_key(path)
    assert not content or content not in str(refusal.value)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = key_file(tmp_path, TILL)
    path.chmod(0o640)

    with pytest.raises(KeyFileError, match="chmod 600"):
        solana_key(path)
