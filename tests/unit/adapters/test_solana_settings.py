"""What `PAYPHONE_SOLANA_…` may say, and that every mistake in it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.environ import ConfigError, Reader
from adapters.solana_settings import SolanaSettings, read_solana

PAY_TO = "9hSR6S7WPtxmTojgo6GG3k4yDPecgJY292j7xrsUGWBu"
RPC = "https://rpc.solana.test/key"
FACILITATOR = "https://facilitator.test"


def read(*, sandbox: bool = False, **environ: str) -> SolanaSettings | None:
    reader = Reader({f"PAYPHONE_SOLANA_{name}": value for name, value in environ.items()})
    found = read_solana(reader, sandbox=sandbox)
    reader.finish()
    return found


def test_nothing_said_is_no_rail() -> None:
    assert read() is None


def test_who_is_paid_a_node_and_a_facilitator_are_enough() -> None:
    assert read(PAY_TO=PAY_TO, RPC_URL=RPC, FACILITATOR_URL=FACILITATOR) == SolanaSettings(
        pay_to=PAY_TO, network="mainnet", rpc_url=RPC, facilitator_url=FACILITATOR
    )


def test_a_key_that_pays_fees_stands_in_for_a_facilitator() -> None:
    found = read(
        PAY_TO=PAY_TO,
        RPC_URL=RPC,
        NETWORK="devnet",
        FEE_PAYER_KEY_FILE="/keys/fees",
        REFUND_KEY_FILE="/keys/refund",
    )

    assert found == SolanaSettings(
        pay_to=PAY_TO,
        network="devnet",
        rpc_url=RPC,
        fee_payer_key_file=Path("/keys/fees"),
        refund_key_file=Path("/keys/refund"),
    )


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"PAY_TO": PAY_TO}, "PAYPHONE_SOLANA_RPC_URL"),
        ({"PAY_TO": PAY_TO, "RPC_URL": RPC}, "PAYPHONE_SOLANA_FACILITATOR_URL"),
        ({"PAY_TO": "0x12"}, "PAYPHONE_SOLANA_PAY_TO"),
        ({"PAY_TO": "1" * 32, "RPC_URL": RPC, "FACILITATOR_URL": FACILITATOR}, "system program"),
        ({"NETWORK": "testnet"}, "PAYPHONE_SOLANA_NETWORK"),
        ({"FACILITATOR_URL": FACILITATOR}, "PAYPHONE_SOLANA_PAY_TO beside it"),
        (
            {
                "PAY_TO": PAY_TO,
                "RPC_URL": RPC,
                "FACILITATOR_URL": FACILITATOR,
                "FEE_PAYER_KEY_FILE": "/keys/fees",
            },
            "one of two",
        ),
        (
            {
                "PAY_TO": PAY_TO,
                "RPC_URL": RPC,
                "FEE_PAYER_KEY_FILE": "/keys/one",
                "REFUND_KEY_FILE": "/keys/one",
            },
            "a file of its own",
        ),
    ],
)
def test_every_mistake_is_told(environ: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        read(**environ)


@pytest.mark.parametrize("name", ["PAY_TO", "FACILITATOR_URL", "FEE_PAYER_KEY_FILE"])
def test_the_sandbox_takes_no_real_money(name: str) -> None:
    value = {"PAY_TO": PAY_TO, "FACILITATOR_URL": FACILITATOR}.get(name, "/keys/fees")

    with pytest.raises(ConfigError, match="play money"):
        read(sandbox=True, **{name: value})


def test_a_url_that_may_hold_a_key_is_not_shown() -> None:
    found = read(PAY_TO=PAY_TO, RPC_URL=RPC, FACILITATOR_URL=FACILITATOR)

    assert "test" not in repr(found)
