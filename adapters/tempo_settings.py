"""Settings of MPP on Tempo: who is paid, and the node that is asked and sent to."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from adapters.environ import Reader

NETWORKS = ("mainnet", "moderato")
_LIFETIME_S = 300
# The sandbox's chain forgets nonces after 30 s; some clients sign until the challenge expires.
_SANDBOX_LIFETIME_S = 24
# A payer needs some seconds to sign; a price that is old should not be payable.
_LIFETIME_S_MIN, _LIFETIME_S_MAX = 10, 3_600
_NAMES = ("PAYPHONE_TEMPO_PAY_TO", "PAYPHONE_TEMPO_RPC_URL", "PAYPHONE_TEMPO_REFUND_KEY_FILE")


@dataclass(frozen=True, slots=True, kw_only=True)
class TempoSettings:
    """Who is paid on which network (`mainnet` or `moderato`), and its node.

    In the sandbox there is no `pay_to`, and the node is the sandbox's. `refund_key_file` has the
    key of a wallet that pays back.
    """

    pay_to: str = ""
    network: str = "mainnet"
    rpc_url: str = field(default="", repr=False)
    refund_key_file: Path | None = None
    lifetime_ms: int = _LIFETIME_S * 1000


def read_tempo(reader: Reader, *, sandbox: bool) -> TempoSettings | None:
    """What `PAYPHONE_TEMPO_…` say; None where nobody is to be paid."""
    key_file = reader.text("PAYPHONE_TEMPO_REFUND_KEY_FILE")
    settings = TempoSettings(
        pay_to=reader.pattern("PAYPHONE_TEMPO_PAY_TO", r"0x[0-9a-fA-F]{40}", "an EVM address"),
        network=reader.choice("PAYPHONE_TEMPO_NETWORK", NETWORKS, default="mainnet"),
        rpc_url=reader.url("PAYPHONE_TEMPO_RPC_URL", schemes=("https", "http"), secret=True),
        refund_key_file=Path(key_file) if key_file else None,
        lifetime_ms=1000
        * reader.count(
            "PAYPHONE_TEMPO_CHALLENGE_SECONDS",
            least=_LIFETIME_S_MIN,
            most=_LIFETIME_S_MAX,
            default=_SANDBOX_LIFETIME_S if sandbox else _LIFETIME_S,
        ),
    )
    if sandbox:
        for name in filter(reader.given, _NAMES):
            reader.problem(name, "nothing: the sandbox takes play money only (unset one)")
        return TempoSettings(lifetime_ms=settings.lifetime_ms)
    if not settings.pay_to:
        for name in filter(reader.given, _NAMES[1:]):
            reader.problem(name, "PAYPHONE_TEMPO_PAY_TO beside it: the address to be paid at")
        return None
    if int(settings.pay_to, 16) == 0:
        reader.problem("PAYPHONE_TEMPO_PAY_TO", "an address somebody has, not zero")
    if not settings.rpc_url:
        reader.missing(
            "PAYPHONE_TEMPO_RPC_URL",
            "a node's JSON-RPC URL: payments are sent to it, and credit is given on what it shows",
        )
    return settings
