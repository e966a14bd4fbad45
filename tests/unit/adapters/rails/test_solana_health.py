"""What an operator is told to mend on Solana."""

from __future__ import annotations

import pytest
from solders.keypair import Keypair

from adapters.rails.networks import SOLANA, SOLANA_DEVNET, SolanaNetwork
from adapters.rails.solana_chain import SolanaReader
from adapters.rails.solana_health import FEE_PAYER_LAMPORTS_MIN, SolanaHealth
from tests.fakes.solana_sandbox import FEE_PAYER, PAY_TO, SolanaSandbox


@pytest.fixture
def cluster() -> SolanaSandbox:
    return SolanaSandbox()


def health(
    cluster: SolanaSandbox,
    *,
    network: SolanaNetwork = SOLANA,
    pay_to: str = PAY_TO,
    fee_payer: str = "",
) -> SolanaHealth:
    chain = SolanaReader(cluster.node)
    return SolanaHealth(chain, network=network, pay_to=pay_to, fee_payer=fee_payer)


async def test_nothing_is_wrong_with_an_honest_cluster(cluster: SolanaSandbox) -> None:
    assert await health(cluster, fee_payer=str(FEE_PAYER.pubkey())).problem() == ""


async def test_a_node_of_another_chain_is_told(cluster: SolanaSandbox) -> None:
    assert "another chain" in await health(cluster, network=SOLANA_DEVNET).problem()


async def test_an_address_without_a_token_account_is_told(cluster: SolanaSandbox) -> None:
    assert "no account for USDC" in await health(cluster, pay_to=str(Keypair().pubkey())).problem()


async def test_a_fee_payer_that_runs_out_is_told(cluster: SolanaSandbox) -> None:
    poor = str(Keypair().pubkey())
    cluster.chain.fund(poor, 0, lamports=FEE_PAYER_LAMPORTS_MIN - 1)
    before = await health(cluster, fee_payer=poor).problem()
    cluster.chain.fund(poor, 0, lamports=1_000_000)

    assert "send it SOL" in before
    assert await health(cluster, fee_payer=poor).problem() == ""


async def test_a_silent_node_is_told(cluster: SolanaSandbox) -> None:
    cluster.faults.chain_unreadable = True

    assert "cannot be asked" in await health(cluster).problem()
