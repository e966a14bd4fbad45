"""Settings of payments on TRON: who is paid, who carries permits to the chain, who is asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from adapters.environ import Reader
from adapters.rails.tron_address import account_of
from adapters.rails.tron_networks import TRON_NETWORKS

FACILITATOR = "https://facilitator.bankofai.io"
NODE = "https://api.trongrid.io"
# A tenth of a dollar, in base units: the facilitator's sample is 100.
_FEE_MAX = 100_000
_PAY_TO = "PAYPHONE_TRON_PAY_TO"
_FACILITATOR = "PAYPHONE_TRON_FACILITATOR_URL"
_NODE = "PAYPHONE_TRON_NODE_URL"
_NAMES = (
    _PAY_TO,
    _FACILITATOR,
    "PAYPHONE_TRON_FACILITATOR_KEY_FILE",
    _NODE,
    "PAYPHONE_TRON_NODE_KEY_FILE",
    "PAYPHONE_TRON_REFUND_KEY_FILE",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TronSettings:
    """Who is paid on which network (`mainnet`, `nile`, `shasta`), and who is asked.

    A fee above `fee_max` base units is not passed on. The key files hold the facilitator's key, the
    node's, and the private key of a wallet that pays back.
    """

    pay_to: str
    network: str
    fee_max: int
    facilitator_url: str = field(repr=False)
    node_url: str = field(repr=False)
    facilitator_key_file: Path | None = None
    node_key_file: Path | None = None
    refund_key_file: Path | None = None


def read_tron(reader: Reader, *, sandbox: bool) -> TronSettings | None:
    """What `PAYPHONE_TRON_…` says; None where nobody is to be paid there."""
    web = ("https", "http")
    settings = TronSettings(
        pay_to=reader.text(_PAY_TO),
        network=reader.choice("PAYPHONE_TRON_NETWORK", tuple(TRON_NETWORKS), default="mainnet"),
        fee_max=reader.count("PAYPHONE_TRON_FEE_MAX", least=0, most=100_000_000, default=_FEE_MAX),
        facilitator_url=reader.url(_FACILITATOR, schemes=web, secret=True),
        node_url=reader.url(_NODE, schemes=web, secret=True),
        facilitator_key_file=reader.path("PAYPHONE_TRON_FACILITATOR_KEY_FILE"),
        node_key_file=reader.path("PAYPHONE_TRON_NODE_KEY_FILE"),
        refund_key_file=reader.path("PAYPHONE_TRON_REFUND_KEY_FILE"),
    )
    given = [name for name in _NAMES if reader.given(name)]
    if sandbox:
        for name in given:
            reader.problem(name, "nothing: the sandbox takes play money only (unset one)")
        return None
    if not settings.pay_to:
        for name in given:
            reader.problem(name, f"{_PAY_TO} beside it: the address to be paid at")
        return None
    _check(reader, settings)
    return settings


def _check(reader: Reader, settings: TronSettings) -> None:
    try:
        account = account_of(settings.pay_to)
    except ValueError:
        reader.problem(_PAY_TO, "a TRON address in base58, its checksum right")
    else:
        if not any(account):
            reader.problem(_PAY_TO, "an address somebody has, not zero")
    if not settings.facilitator_url:
        reader.missing(_FACILITATOR, f"a facilitator's URL (e.g. {FACILITATOR})")
    if not settings.node_url:
        reader.missing(
            _NODE, f"a full node's URL (e.g. {NODE}): credit is given on what the chain says"
        )
