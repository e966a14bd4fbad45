"""Settings of x402 on Base: who is paid, who carries payments to the chain, who is asked of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from adapters.environ import Reader

FACILITATOR = "https://x402.org/facilitator"
NETWORKS = ("base", "base-sepolia")
_NAMES = (
    "PAYPHONE_X402_PAY_TO",
    "PAYPHONE_X402_FACILITATOR_URL",
    "PAYPHONE_X402_GAS_KEY_FILE",
    "PAYPHONE_X402_REFUND_KEY_FILE",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class X402Settings:
    """Who is paid on which network, and the node that is asked what happened.

    Payments are carried by the facilitator at `facilitator_url`, or by us, with the key in
    `gas_key_file`: one of the two. `refund_key_file` has the key of a wallet that pays back.
    """

    pay_to: str
    network: str
    rpc_url: str = field(repr=False)
    facilitator_url: str = field(default="", repr=False)
    gas_key_file: Path | None = None
    refund_key_file: Path | None = None


def read_x402(reader: Reader, *, sandbox: bool) -> X402Settings | None:
    """What `PAYPHONE_X402_…` and `PAYPHONE_BASE_RPC_URL` say; None where nobody is to be paid."""
    web = ("https", "http")
    settings = X402Settings(
        pay_to=reader.pattern("PAYPHONE_X402_PAY_TO", r"0x[0-9a-fA-F]{40}", "an EVM address"),
        network=reader.choice("PAYPHONE_X402_NETWORK", NETWORKS, default="base"),
        rpc_url=reader.url("PAYPHONE_BASE_RPC_URL", schemes=web, secret=True),
        facilitator_url=reader.url("PAYPHONE_X402_FACILITATOR_URL", schemes=web, secret=True),
        gas_key_file=reader.path("PAYPHONE_X402_GAS_KEY_FILE"),
        refund_key_file=reader.path("PAYPHONE_X402_REFUND_KEY_FILE"),
    )
    if sandbox:
        for name in filter(reader.given, _NAMES):
            reader.problem(name, "nothing: the sandbox takes play money only (unset one)")
        return None
    if not settings.pay_to:
        for name in filter(reader.given, _NAMES[2:]):
            reader.problem(name, "PAYPHONE_X402_PAY_TO beside it: the address to be paid at")
        return None
    if int(settings.pay_to, 16) == 0:
        reader.problem("PAYPHONE_X402_PAY_TO", "an address somebody has, not zero")
    _check_carrier(reader, settings)
    if not settings.rpc_url:
        reader.missing(
            "PAYPHONE_BASE_RPC_URL", "a node's JSON-RPC URL: credit is given on what the chain says"
        )
    return settings


def _check_carrier(reader: Reader, settings: X402Settings) -> None:
    if settings.facilitator_url and settings.gas_key_file:
        reader.problem(
            "PAYPHONE_X402_GAS_KEY_FILE", "nothing beside PAYPHONE_X402_FACILITATOR_URL: one of two"
        )
    if not (settings.facilitator_url or settings.gas_key_file):
        reader.missing(
            "PAYPHONE_X402_FACILITATOR_URL",
            f"a facilitator's URL (e.g. {FACILITATOR}), or a key that pays gas in "
            "PAYPHONE_X402_GAS_KEY_FILE",
        )
    if settings.gas_key_file and settings.gas_key_file == settings.refund_key_file:
        reader.problem(
            "PAYPHONE_X402_REFUND_KEY_FILE",
            "a file of its own: the key that pays gas had better hold no dollars",
        )
