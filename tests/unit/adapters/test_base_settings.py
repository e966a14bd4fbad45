"""Settings of Base: who is paid, and which one of two carries payments."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.base_settings import X402Settings, read_x402
from adapters.environ import ConfigError, Reader

PAY_TO = "0x2222222222222222222222222222222222222222"
RPC = {"PAYPHONE_BASE_RPC_URL": "https://node.test/token-in-the-path"}
OWN = {**RPC, "PAYPHONE_X402_PAY_TO": PAY_TO, "PAYPHONE_X402_GAS_KEY_FILE": "/keys/gas"}
FAR = {
    **RPC,
    "PAYPHONE_X402_PAY_TO": PAY_TO,
    "PAYPHONE_X402_FACILITATOR_URL": "https://facilitator.test/key-in-the-path",
}


def read(environ: dict[str, str], *, sandbox: bool = False) -> X402Settings | None:
    reader = Reader(environ)
    settings = read_x402(reader, sandbox=sandbox)
    reader.finish()
    return settings


def problems(environ: dict[str, str], *, sandbox: bool = False) -> str:
    with pytest.raises(ConfigError) as wrong:
        read(environ, sandbox=sandbox)
    return "\n".join(wrong.value.problems)


def test_a_key_of_our_own_takes_the_place_of_a_facilitator() -> None:
    settings = read({**OWN, "PAYPHONE_X402_REFUND_KEY_FILE": "/keys/refund"})

    assert settings == X402Settings(
        pay_to=PAY_TO,
        network="base",
        rpc_url="https://node.test/token-in-the-path",
        gas_key_file=Path("/keys/gas"),
        refund_key_file=Path("/keys/refund"),
    )


def test_nobody_to_pay_is_no_base() -> None:
    assert read(RPC) is None


def test_one_of_two_must_carry_payments() -> None:
    told = problems({**RPC, "PAYPHONE_X402_PAY_TO": PAY_TO})

    assert "PAYPHONE_X402_FACILITATOR_URL" in told
    assert "PAYPHONE_X402_GAS_KEY_FILE" in told


def test_two_must_not() -> None:
    assert "one of two" in problems({**OWN, **FAR})


def test_the_key_that_pays_gas_is_not_the_one_that_holds_dollars() -> None:
    assert "file of its own" in problems({**OWN, "PAYPHONE_X402_REFUND_KEY_FILE": "/keys/gas"})


@pytest.mark.parametrize("name", ["PAYPHONE_X402_GAS_KEY_FILE", "PAYPHONE_X402_REFUND_KEY_FILE"])
def test_a_key_without_an_address_to_be_paid_at_is_a_mistake(name: str) -> None:
    assert "PAYPHONE_X402_PAY_TO" in problems({name: "/keys/gas"})


@pytest.mark.parametrize("name", sorted({*OWN, *FAR} - {*RPC}))
def test_the_sandbox_takes_no_real_money(name: str) -> None:
    assert "play money only" in problems({name: {**OWN, **FAR}[name]}, sandbox=True)


def test_urls_with_keys_in_them_do_not_show() -> None:
    shown = repr(read(FAR))

    assert "key-in-the-path" not in shown
    assert "token-in-the-path" not in shown
