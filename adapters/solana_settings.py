"""Settings of x402 on Solana: who is paid, who carries payments there, who is asked of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from adapters.environ import Reader

FACILITATOR = "https://x402.org/facilitator"
NETWORKS = ("mainnet", "devnet")
_ADDRESS = r"[1-9A-HJ-NP-Za-km-z]{32,44}"
# The system program: nobody has its key.
_NOBODY = "1" * 32
_REAL = (
    "PAYPHONE_SOLANA_PAY_TO",
    "PAYPHONE_SOLANA_FACILITATOR_URL",
    "PAYPHONE_SOLANA_FEE_PAYER_KEY_FILE",
    "PAYPHONE_SOLANA_REFUND_KEY_FILE",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SolanaSettings:
    """Who is paid on which network, and the node that is asked what happened.

    Payments are carried by the facilitator at `facilitator_url`, or by us, with the key in
    `fee_payer_key_file`: one of the two. `refund_key_file` has the key of a wallet that pays back.
    Key files are as `solana-keygen` writes them, or have the 64 bytes in base58.
    """

    pay_to: str
    network: str
    rpc_url: str = field(repr=False)
    facilitator_url: str = field(default="", repr=False)
    fee_payer_key_file: Path | None = None
    refund_key_file: Path | None = None


def read_solana(reader: Reader, *, sandbox: bool) -> SolanaSettings | None:
    """What `PAYPHONE_SOLANA_…` say; None where nobody is to be paid on Solana."""
    web = ("https", "http")
    settings = SolanaSettings(
        pay_to=reader.pattern("PAYPHONE_SOLANA_PAY_TO", _ADDRESS, "a Solana address"),
        network=reader.choice("PAYPHONE_SOLANA_NETWORK", NETWORKS, default="mainnet"),
        rpc_url=reader.url("PAYPHONE_SOLANA_RPC_URL", schemes=web, secret=True),
        facilitator_url=reader.url("PAYPHONE_SOLANA_FACILITATOR_URL", schemes=web, secret=True),
        fee_payer_key_file=reader.path("PAYPHONE_SOLANA_FEE_PAYER_KEY_FILE"),
        refund_key_file=reader.path("PAYPHONE_SOLANA_REFUND_KEY_FILE"),
    )
    if sandbox:
        for name in filter(reader.given, _REAL):
            reader.problem(name, "nothing: the sandbox takes play money only (unset one)")
        return None
    if not settings.pay_to:
        for name in filter(reader.given, _REAL[1:]):
            reader.problem(
                name,
                "PAYPHONE_SOLANA_PAY_TO beside it: the address to be paid at",
                hidden=name.endswith("_URL"),
            )
        return None
    if settings.pay_to == _NOBODY:
        reader.problem("PAYPHONE_SOLANA_PAY_TO", "an address somebody has, not the system program")
    _check_carrier(reader, settings)
    if not settings.rpc_url:
        reader.missing(
            "PAYPHONE_SOLANA_RPC_URL",
            "a node's JSON-RPC URL: credit is given on what the chain says",
        )
    return settings


def _check_carrier(reader: Reader, settings: SolanaSettings) -> None:
    if settings.facilitator_url and settings.fee_payer_key_file:
        reader.problem(
            "PAYPHONE_SOLANA_FEE_PAYER_KEY_FILE",
            "nothing beside PAYPHONE_SOLANA_FACILITATOR_URL: one of two",
        )
    if not (settings.facilitator_url or settings.fee_payer_key_file):
        reader.missing(
            "PAYPHONE_SOLANA_FACILITATOR_URL",
            f"a facilitator's URL (e.g. {FACILITATOR}), or a key that pays fees in "
            "PAYPHONE_SOLANA_FEE_PAYER_KEY_FILE",
        )
    if settings.fee_payer_key_file and settings.fee_payer_key_file == settings.refund_key_file:
        reader.problem(
            "PAYPHONE_SOLANA_REFUND_KEY_FILE",
            "a file of its own: who pays the fees of a transfer cannot be its payer",
        )
