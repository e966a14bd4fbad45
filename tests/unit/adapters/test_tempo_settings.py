"""What `PAYPHONE_TEMPO_…` may say, and that every mistake in it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.environ import ConfigError, Reader
from adapters.tempo_settings import TempoSettings, read_tempo

PAY_TO = "0x" + "12" * 20
URL = "https://rpc.tempo.test/key"


def read(*, sandbox: bool = False, **environ: str) -> TempoSettings | None:
    reader = Reader({f"PAYPHONE_TEMPO_{name}": value for name, value in environ.items()})
    found = read_tempo(reader, sandbox=sandbox)
    reader.finish()
    return found


def test_nothing_said_is_no_rail() -> None:
    assert read() is None


def test_the_sandbox_needs_nothing() -> None:
    assert read(sandbox=True) == TempoSettings(lifetime_ms=24_000)


def test_who_is_paid_and_a_node_are_enough() -> None:
    assert read(PAY_TO=PAY_TO, RPC_URL=URL) == TempoSettings(
        pay_to=PAY_TO, network="mainnet", rpc_url=URL, lifetime_ms=300_000
    )


def test_all_of_it_can_be_said() -> None:
    found = read(
        PAY_TO=PAY_TO,
        RPC_URL=URL,
        NETWORK="moderato",
        REFUND_KEY_FILE="/keys/refund",
        CHALLENGE_SECONDS="24",
    )

    assert found == TempoSettings(
        pay_to=PAY_TO,
        network="moderato",
        rpc_url=URL,
        refund_key_file=Path("/keys/refund"),
        lifetime_ms=24_000,
    )


def test_the_node_is_not_shown_with_the_settings() -> None:
    assert "key" not in repr(TempoSettings(rpc_url=URL)).replace("refund_key_file", "")


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"PAY_TO": "0x12", "RPC_URL": URL}, "PAY_TO"),
        ({"PAY_TO": "0x" + "00" * 20, "RPC_URL": URL}, "PAY_TO"),
        ({"PAY_TO": PAY_TO}, "RPC_URL"),
        ({"PAY_TO": PAY_TO, "RPC_URL": "ftp://node"}, "RPC_URL"),
        ({"RPC_URL": URL}, "RPC_URL"),
        ({"REFUND_KEY_FILE": "/keys/refund"}, "REFUND_KEY_FILE"),
        ({"PAY_TO": PAY_TO, "RPC_URL": URL, "NETWORK": "base"}, "NETWORK"),
        ({"PAY_TO": PAY_TO, "RPC_URL": URL, "CHALLENGE_SECONDS": "1"}, "CHALLENGE_SECONDS"),
    ],
    ids=str,
)
def test_a_mistake_is_told_with_its_name(environ: dict[str, str], name: str) -> None:
    with pytest.raises(ConfigError, match=f"PAYPHONE_TEMPO_{name}"):
        read(**environ)


@pytest.mark.parametrize("name", ["PAY_TO", "RPC_URL", "REFUND_KEY_FILE"])
def test_the_sandbox_takes_no_real_money(name: str) -> None:
    value = {"PAY_TO": PAY_TO, "RPC_URL": URL, "REFUND_KEY_FILE": "/keys/refund"}[name]

    with pytest.raises(ConfigError, match="play money"):
        read(sandbox=True, **{name: value})
