"""What `PAYPHONE_TRON_…` may say, and that every mistake in it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.environ import ConfigError, Reader
from adapters.tron_settings import TronSettings, read_tron

PAY_TO = "TJRabPrwbZy45sbavfcjinPJC18kjpRTv8"
FACILITATOR = "https://facilitator.test/secret"
NODE = "https://node.test/secret"


def read(*, sandbox: bool = False, **environ: str) -> TronSettings | None:
    reader = Reader({f"PAYPHONE_TRON_{name}": value for name, value in environ.items()})
    found = read_tron(reader, sandbox=sandbox)
    reader.finish()
    return found


def test_nothing_said_is_no_rail() -> None:
    assert read() is None
    assert read(sandbox=True) is None


def test_who_is_paid_a_facilitator_and_a_node_are_enough() -> None:
    assert read(PAY_TO=PAY_TO, FACILITATOR_URL=FACILITATOR, NODE_URL=NODE) == TronSettings(
        pay_to=PAY_TO,
        network="mainnet",
        fee_max=100_000,
        facilitator_url=FACILITATOR,
        node_url=NODE,
    )


def test_all_of_it_can_be_said() -> None:
    found = read(
        PAY_TO=PAY_TO,
        NETWORK="nile",
        FACILITATOR_URL=FACILITATOR,
        FACILITATOR_KEY_FILE="/keys/facilitator",
        NODE_URL=NODE,
        NODE_KEY_FILE="/keys/node",
        FEE_MAX="5",
        REFUND_KEY_FILE="/keys/refund",
    )

    assert found == TronSettings(
        pay_to=PAY_TO,
        network="nile",
        fee_max=5,
        facilitator_url=FACILITATOR,
        node_url=NODE,
        facilitator_key_file=Path("/keys/facilitator"),
        node_key_file=Path("/keys/node"),
        refund_key_file=Path("/keys/refund"),
    )


def test_where_the_money_is_asked_about_is_not_shown_with_the_settings() -> None:
    found = read(PAY_TO=PAY_TO, FACILITATOR_URL=FACILITATOR, NODE_URL=NODE)

    assert "secret" not in repr(found)


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"PAY_TO": PAY_TO[:-1] + "9"}, "PAY_TO"),
        ({"PAY_TO": "0x" + "11" * 20}, "PAY_TO"),
        ({"PAY_TO": "T9yD14Nj9j7xAB4dbGeiX9h8unkKHxuWwb"}, "PAY_TO"),
        ({"NETWORK": "base"}, "NETWORK"),
        ({"FACILITATOR_URL": ""}, "FACILITATOR_URL"),
        ({"FACILITATOR_URL": "ftp://x.test"}, "FACILITATOR_URL"),
        ({"NODE_URL": ""}, "NODE_URL"),
        ({"FEE_MAX": "-1"}, "FEE_MAX"),
        ({"PAY_TO": ""}, "FACILITATOR_URL"),
    ],
    ids=str,
)
def test_a_mistake_is_told_by_its_name(environ: dict[str, str], name: str) -> None:
    good = {"PAY_TO": PAY_TO, "FACILITATOR_URL": FACILITATOR, "NODE_URL": NODE}

    with pytest.raises(ConfigError) as told:
        read(**(good | environ))

    assert f"PAYPHONE_TRON_{name}:" in str(told.value)
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("name", ["PAY_TO", "FACILITATOR_URL", "REFUND_KEY_FILE"])
def test_the_sandbox_takes_no_real_money(name: str) -> None:
    with pytest.raises(ConfigError, match=f"PAYPHONE_TRON_{name}"):
        read(sandbox=True, **{name: PAY_TO})
